"""What the operator computes, spelled in float64, and the acceptance rule of the tests."""

import math
import os

import torch

LIBRARY = os.environ.get("FLASHCONVERT_OPS", "")
EPSILON = {dtype: torch.finfo(dtype).eps for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}


def load_operator():
    if not LIBRARY:
        raise RuntimeError("set FLASHCONVERT_OPS to the path of libflashconvert_ops.so")
    torch.ops.load_library(LIBRARY)
    return torch.ops.flashconvert.attention


def reference(query, key, value, bias=None, *, scale, causal=False, window=(-1, -1), softcap=0.0,
              zero_masked_rows=False, bottom_right=False, dtype=torch.float64):
    """Plain matrix products and a softmax in `dtype`. Rank 4 and more have heads in dimension -3."""
    query, key, value = (operand.detach().to(dtype) for operand in (query, key, value))
    if query.dim() >= 4 and query.size(-3) != key.size(-3):
        group = query.size(-3) // key.size(-3)
        key, value = (operand.repeat_interleave(group, -3) for operand in (key, value))
    scores = torch.matmul(query, key.transpose(-2, -1)) * scale
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        masked = scores.masked_fill(~bias, -math.inf) if bias.dtype == torch.bool else None
        scores = masked if masked is not None else scores + bias.detach().to(dtype)
    scores = scores.masked_fill(~visible(scores, causal, window, bottom_right), -math.inf)
    output = torch.matmul(torch.softmax(scores, -1), value)
    if zero_masked_rows and scores.size(-1) > 0:
        output = output.masked_fill(scores.amax(-1, keepdim=True) == -math.inf, 0.0)
    return output


def visible(scores, causal, window, bottom_right):
    query_length, key_length = scores.shape[-2:]
    diagonal = key_length - query_length if bottom_right else 0
    rows = torch.arange(query_length, device=scores.device)[:, None] + diagonal
    columns = torch.arange(key_length, device=scores.device)[None, :]
    left, right = window
    if causal:
        right = 0
    allowed = torch.ones(query_length, key_length, dtype=torch.bool, device=scores.device)
    if left >= 0:
        allowed &= columns >= rows - left
    if right >= 0:
        allowed &= columns <= rows + right
    return allowed


def check(test, output, query, key, value, bias=None, **options):
    """The error is at most twice that of the plain form in the same dtype, plus the rounding of the result. NaN and
    infinity must stand where the reference has them."""
    expected = reference(query, key, value, bias, **options)
    test.assertEqual(output.dtype, query.dtype)
    test.assertEqual(output.shape, expected.shape)
    test.assertTrue(torch.equal(output.isnan(), expected.isnan()), "NaN in other places than the reference")
    if expected.numel() == 0:
        return
    rounded = reference(query, key, value, bias, dtype=query.dtype, **options).double()
    finite = expected.isfinite() & rounded.isfinite()
    plain_error = torch.where(finite, rounded - expected, 0).abs().max().item()
    scale = torch.where(expected.isfinite(), expected, 0).abs().max().item()
    if query.dtype == torch.float64:
        plain_error = score_error(query, key, options["scale"], EPSILON[torch.float64]) * scale
    elif query.dtype == torch.float32 and query.is_cuda:
        # Three TF32 products (11 significant bits each) in place of a float32 one leave out the product of the low
        # parts, 2**-22 of each term.
        plain_error += score_error(query, key, options["scale"], 2.0**-22) * scale
    error = torch.where(expected.isnan(), 0, output.double() - expected).abs().max().item()
    test.assertLessEqual(error, 2 * plain_error + EPSILON[query.dtype] * max(scale, 1e-30))


def score_error(query, key, scale, unit):
    """A bound for the relative error of a weight, which is the absolute error of its score, where each term of the
    score has a relative error of `unit`. For float64 it stands in for the error of the reference, which cannot be
    measured."""
    if key.numel() == 0:
        return 2 * unit
    largest = abs(scale) * query.norm(dim=-1).max().item() * key.norm(dim=-1).max().item()
    return unit * (2 + largest)


def expected_strides(shape):
    """[..., H, L, D] lies in memory as [..., L, H, D]; without heads (rank 2 and 3) it is contiguous."""
    if len(shape) < 4:
        return torch.empty(shape).stride()
    *batch, heads, length, features = shape
    return torch.empty(*batch, length, heads, features).transpose(-3, -2).stride()
