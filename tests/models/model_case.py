"""What a real-model test is made of: one `ModelCase` a model, the same for every library's table.

A case says how to make the model (random weights, no download), which arguments it takes, how it is exported, and what a
conversion should find in it. The tables (`torch_nn_models.py`, `transformers_models.py`, ...) hold nothing but cases.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ModelCase:
    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[int, int], tuple]  # batch and length (or image side) to the arguments of forward
    fused: int  # attention sites that a conversion should fuse
    causal: int | None = None  # how many of the fused sites have the causal flag; None: not looked at
    declined: tuple[str, ...] = ()  # for each site that it should leave alone: words of the reason
    folded: int = 0  # reparameterised weights that it should fold
    shape: tuple[int, int] = (2, 6)  # the batch and length that a traced case is traced with
    other_shapes: tuple[tuple[int, int], ...] = ((3, 9), (1, 1))  # further ones that the export accepts
    scripted: bool = False
    fast_path: bool = True  # torch.backends.mha: nn.MultiheadAttention's fused inference operators


@contextlib.contextmanager
def mha_fast_path(enabled: bool):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _sharpen(module: nn.Module) -> None:
    """Gives every parameter values of a size that matters.

    Library defaults (a standard deviation of 0.02, zero biases) make every attention nearly uniform: a wrong scale or a
    lost bias would then be invisible in the output. Unit-variance projections give logits of unit size.
    """
    for name, parameter in module.named_parameters():
        if "logit_scale" in name or not parameter.is_floating_point():
            continue
        if parameter.dim() < 2:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        else:
            fan_in = parameter[0].numel()
            parameter.data.normal_(std=1.2 / fan_in**0.5)


def make_module(case: ModelCase) -> nn.Module:
    """The model in eval mode, with the same random weights at every call."""
    torch.manual_seed(20)
    module = case.make().eval()
    _sharpen(module)
    return module


def make_inputs(case: ModelCase, shape: tuple[int, int]) -> tuple:
    """Arguments of the case's forward for a (batch, length), the same at every call."""
    torch.manual_seed(1000 + 31 * shape[0] + shape[1])
    return case.inputs(*shape)


def export(case: ModelCase) -> torch.jit.ScriptModule:
    """The TorchScript module as a user of the library would have exported it."""
    module = make_module(case)
    with torch.no_grad(), mha_fast_path(case.fast_path):
        if case.scripted:
            return torch.jit.script(module)
        return torch.jit.trace(module, make_inputs(case, case.shape), strict=False, check_trace=False)
