"""Inputs of generated models. Floats are drawn in float64 and cast to the model's dtype by whoever calls it (trial.py);
tensors of another dtype stay as they are. What hides keys comes in variants."""

import torch

ORDINARY = 0  # each row sees a key
HIDDEN_ROWS = 1  # some rows see none
ALL_VISIBLE = 2
EXTREME = 3  # rows without keys, infinities and NaN in keys that are hidden, large scores
VARIANTS = (ORDINARY, HIDDEN_ROWS, ALL_VISIBLE, EXTREME)


def normal(*sizes: int) -> torch.Tensor:
    return torch.randn(sizes, dtype=torch.float64)


def visible(*sizes: int, variant: int) -> torch.Tensor:
    """A boolean mask over the last dimension, true where a key is seen."""
    if variant == ALL_VISIBLE:
        return torch.ones(sizes, dtype=torch.bool)
    mask = torch.rand(sizes) < 0.7
    mask[..., 0] = True
    if variant in (HIDDEN_ROWS, EXTREME):
        mask.view(-1, sizes[-1])[0] = False
    if variant == EXTREME and sizes[-1] > 1:
        mask[..., -1] = False
    return mask


def hidden(*sizes: int, variant: int) -> torch.Tensor:
    return ~visible(*sizes, variant=variant)


def zeros_and_ones(*sizes: int, variant: int) -> torch.Tensor:
    """The same as int64, 1 where a key is seen."""
    return visible(*sizes, variant=variant).long()


def additive(*sizes: int, variant: int, fill: float = float("-inf")) -> torch.Tensor:
    """A float mask: 0 where a key is seen, `fill` elsewhere."""
    return torch.zeros(sizes, dtype=torch.float64).masked_fill(hidden(*sizes, variant=variant), fill)


def keys(*sizes: int, variant: int) -> torch.Tensor:
    """Keys or values; extreme ones are large, and infinite or NaN in the last place, which extreme masks hide."""
    drawn = normal(*sizes)
    if variant == EXTREME:
        drawn = drawn * 30
        drawn[..., -1, 0] = (float("inf"), float("nan"), 1e4)[int(torch.randint(0, 3, ()))]
    return drawn
