"""Compares what two models return: values, dtypes, shapes, strides. No tolerance here comes from the converter."""

import torch
from torch.utils._pytree import tree_leaves as leaves

FLOAT64 = 1e-9  # of the output's scale


def _scale(reference: torch.Tensor) -> float:
    finite = reference[reference.isfinite()]
    return max(finite.abs().max().item(), 1e-30) if finite.numel() else 1.0


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest difference, in units of a's largest magnitude; infinite where NaN or infinities differ."""
    a, b = a.detach().to(torch.complex128 if a.is_complex() else torch.float64), b.detach()
    b = b.to(a.dtype)
    if a.numel() == 0:
        return 0.0
    if not torch.equal(a.isnan(), b.isnan()) or not torch.equal(a.isinf(), b.isinf()):
        return float("inf")
    if not torch.equal(a[a.isinf()], b[b.isinf()]):
        return float("inf")
    both = a.isfinite()
    return ((a - b)[both].abs().max().item() / _scale(a)) if both.any() else 0.0


def largest_distance(a, b) -> float:
    """The same over all tensors of two results; infinite where they are not of one structure."""
    first, second = leaves(a), leaves(b)
    if len(first) != len(second):
        return float("inf")
    found = 0.0
    for one, other in zip(first, second):
        if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and one.shape == other.shape:
            found = max(found, distance(one, other))
        elif isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
            return float("inf")
        elif isinstance(one, float) and isinstance(other, float):
            found = max(found, distance(torch.tensor(one), torch.tensor(other)))
        elif one != other:
            return float("inf")
    return found


def form_difference(a, b) -> tuple[str, str] | None:
    """What differs in form, as a kind and a text: structure, shape, dtype, requires_grad."""
    first, second = leaves(a), leaves(b)
    if len(first) != len(second):
        return "structure", f"{len(second)} values instead of {len(first)}"
    for one, other in zip(first, second):
        if type(one) is not type(other):
            return "structure", f"{type(other).__name__} instead of {type(one).__name__}"
        if not isinstance(one, torch.Tensor):
            continue
        if one.shape != other.shape:
            return "shape", f"{list(other.shape)} instead of {list(one.shape)}"
        if one.dtype != other.dtype:
            return "dtype", f"{other.dtype} instead of {one.dtype}"
        if one.requires_grad != other.requires_grad:
            return "requires_grad", f"{other.requires_grad} instead of {one.requires_grad}"
    return None


def stride_difference(a, b) -> str | None:
    for one, other in zip(leaves(a), leaves(b)):
        if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor) or one.numel() < 2:
            continue
        seen = [(size, stride) for size, stride in zip(one.shape, one.stride()) if size > 1]
        given = [(size, stride) for size, stride in zip(other.shape, other.stride()) if size > 1]
        if seen != given:
            return f"strides {list(other.stride())} instead of {list(one.stride())} of {list(one.shape)}"
    return None


def rounding_of(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps if dtype.is_floating_point else torch.finfo(torch.float32).eps


def slack_of(dtype: torch.dtype) -> float:
    """What two right models may be apart in a dtype by themselves: sums of 16-bit numbers run in float32 and round once
    a layer, those of float32 run in another order."""
    return (4 if torch.finfo(dtype).bits == 16 else 16) * rounding_of(dtype)
