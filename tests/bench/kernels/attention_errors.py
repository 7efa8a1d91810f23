#!/usr/bin/env python3
"""Compares float32 attention with float64, beside scaled_dot_product_attention in float32 (TF32 off).

    attention_errors.py LIBRARY [--kernel SUBSTRING] [--only SUBSTRING]...

LIBRARY is libflashconvert_bench_kernels.so. A line a case: mean and largest error of ours, of SDPA as torch chooses it
and of SDPA's plain computation, relative to the mean magnitude of the exact result; ours over SDPA's; and which products
made it, where the library leaves that to the device: of float16 halves or TF32.

Exit code 1 where our mean error is larger than SDPA's, or our largest more than 1.25 times as large.
"""

import argparse
import math
import struct
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from kernel_library import KernelLibrary

MOST_SCORES = 1 << 27  # of float64 at a time


def exact(query, key, value, bias, scale, causal):
    rows = max(1, MOST_SCORES // (query.shape[1] * key.shape[2]))
    parts = []
    for first in range(0, query.shape[2], rows):
        part = query[:, :, first:first + rows].double()
        scores = part @ key.double().transpose(2, 3) * scale
        if bias is not None:
            scores += bias[:, :, first:first + rows].double()
        if causal:
            position = torch.arange(first, first + part.shape[2], device=query.device)[:, None]
            scores.masked_fill_(torch.arange(key.shape[2], device=query.device) > position, -math.inf)
        parts.append(torch.softmax(scores, -1) @ value.double())
    return torch.cat(parts, 2)


def sdpa(query, key, value, bias, scale, causal):
    mask = bias
    if bias is not None and causal:
        hidden = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).triu(1)
        mask = bias.expand(-1, -1, query.shape[2], -1).masked_fill(hidden, -math.inf)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, mask, scale=scale, is_causal=causal and bias is None)


def ours(library, query, key, value, bias, scale, causal):
    """The result, and which products made it."""
    result, name, workspace = library.run(query, key, value, bias=bias, scale=scale, window_right=0 if causal else -1)
    if "fp16x3" not in name:
        return result, name
    return result, f"{name} {'halves' if halves_hold(workspace) else 'TF32'}"


def halves_hold(workspace):
    """As kernels/src/fp16x3/range_facts.h has it, from the facts at the start of the workspace."""
    query_largest, query_sum, key_largest, key_sum, is_unsafe = struct.unpack("4fI", bytes(workspace[:20].tolist()))
    return not is_unsafe and max(query_sum * key_largest, key_sum * query_largest) <= 65536


def normal(*shape, seed):
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, generator=generator, device="cuda")


def operands(queries, keys, dim, heads, batch=1, value_dim=None):
    return [normal(batch, heads, length, columns, seed=seed)
            for seed, (length, columns) in enumerate(((queries, dim), (keys, dim), (keys, value_dim or dim)))]


def cases():
    """(name, query, key, value, bias, scale, causal)"""
    def case(name, tensors, bias=None, causal=False):
        return name, *tensors, bias, torch.tensor(tensors[0].shape[3] ** -0.5).item(), causal  # as float32 has it

    for dim in (32, 64, 96, 128, 192, 256):
        for length, heads in ((197, 48), (512, 32), (2048, 8)):
            for causal in (False, True):
                yield case(f"normal D{dim} L{length}{' causal' * causal}", operands(length, length, dim, heads), causal=causal)
    for dim in (64, 128):
        yield case(f"normal D{dim} Lq1000 Lk16384", operands(1000, 16384, dim, 2))
        yield case(f"normal D{dim} L8192 causal", operands(8192, 8192, dim, 2), causal=True)
        for size in (0.01, 0.3, 3, 10):
            query, key, value = operands(1024, 1024, dim, 8)
            yield case(f"queries times {size} D{dim}", (query * size, key, value))
            yield case(f"queries times {size} causal D{dim}", (query * size, key, value), causal=True)
        query, key, value = operands(1024, 1024, dim, 8)
        yield case(f"each query its key D{dim}", (2 * key + 0.1 * query, key, value))
        yield case(f"positive values D{dim}", (query, key, value.abs()))
        yield case(f"positive values, Lk 16384 D{dim}", (lambda q, k, v: (q, k, v.abs()))(*operands(512, 16384, dim, 2)))
        yield case(f"values near 1, Lk 16384 D{dim}", (lambda q, k, v: (q, k, 1 + 0.1 * v))(*operands(512, 16384, dim, 2)))
        yield case(f"values near 1, same keys, Lk 16384 D{dim}",
                   (lambda q, k, v: (q, k * 0 + k[:, :, :1], 1 + 0.1 * v))(*operands(512, 16384, dim, 2)))
        yield case(f"positive operands D{dim}", (query.abs(), key.abs(), value.abs()))
        sign = torch.tensor([1.0, -1.0], device="cuda").repeat(512)[:, None]
        yield case(f"values that cancel D{dim}", (query * 0.1, key, 1000 * sign + value))
        features = torch.tensor([1.0, -1.0], device="cuda").repeat(dim // 2)
        yield case(f"scores that cancel D{dim}", (30 + 0.1 * query, 30 * features + key, value))
        huge = key.clone()
        huge[:, :, 500] *= 1000
        yield case(f"one huge key D{dim}", (query, huge, value))
        huge_value = value.clone()
        huge_value[:, :, 500] *= 1000
        yield case(f"one huge value D{dim}", (query, key, huge_value))
        yield case(f"one huge key, masked D{dim}", (query, huge, huge_value),
                   bias=torch.zeros(1, 1, 1, 1024, device="cuda").index_fill_(3, torch.tensor([500], device="cuda"), -math.inf))
        rows = 10.0 ** torch.linspace(-6, 6, 1024, device="cuda")[:, None]
        yield case(f"queries of all sizes D{dim}", (query * rows, key, value))
        yield case(f"values of all sizes D{dim}", (query, key, value * rows))
        columns = 10.0 ** torch.linspace(-3, 3, dim, device="cuda")
        yield case(f"value columns of all sizes D{dim}", (query, key, value * columns))
        yield case(f"features of all sizes D{dim}", (query * columns, key / columns, value))
        yield case(f"logits of thousands D{dim}", (query * 30, key * 10, value))
        yield case(f"bias of queries and keys D{dim}", (query, key, value), bias=normal(1, 8, 1024, 1024, seed=7))
        yield case(f"bias of keys causal D{dim}", (query, key, value), bias=normal(1, 1, 1, 1024, seed=7), causal=True)


def errors(result, reference):
    difference = (result.double() - reference).abs()
    scale = reference.abs().mean().item()
    if not bool(torch.isfinite(difference).all()):
        return math.inf, math.inf
    return difference.mean().item() / scale, difference.max().item() / scale


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--kernel", default="", help="a part of a kernel's name: run that instead of the preferred one")
    parser.add_argument("--only", action="append", default=[], help="a part of a case's name (repeatable)")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    library = KernelLibrary(options.library, options.kernel)
    failed = 0
    print(f"{'mean and largest error':42}{'ours':>20}{'SDPA':>20}{'plain':>20}   ours/SDPA   ours/plain")
    for name, *arguments in cases():
        if options.only and not any(part in name for part in options.only):
            continue
        reference = exact(*arguments)
        try:
            result, how = ours(library, *arguments)
        except (RuntimeError, TypeError) as fault:
            print(f"{name:42}  {fault}")
            continue
        own = errors(result, reference)
        theirs = errors(sdpa(*arguments), reference)
        with sdpa_kernel(SDPBackend.MATH):
            plain = errors(sdpa(*arguments), reference)
        is_worse = not (own[0] <= theirs[0] and own[1] <= 1.25 * theirs[1])
        failed += is_worse
        pair = lambda numbers: f"{numbers[0]:11.1e} {numbers[1]:8.1e}"
        ratio = lambda others: f"{own[0] / others[0]:7.2f} {own[1] / others[1]:5.2f}"
        print(f"{name:42}{pair(own)}{pair(theirs)}{pair(plain)}{ratio(theirs)}{ratio(plain)} {'WORSE' if is_worse else '     '} {how}",
              flush=True)
    print(f"{failed} worse")
    return 1 if failed else 0


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
