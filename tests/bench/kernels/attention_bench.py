#!/usr/bin/env python3
"""Times the kernels beside every backend of scaled_dot_product_attention, in one run on one card.

Inputs rotate over more memory than the second-level cache holds; every call is part of a replayed CUDA graph, so that
launch overhead is nobody's; a sample of each result is compared with float64 before it is timed. Figures are TFLOP/s of
4 B H Lq Lk D (causal: half), medians.

    attention_bench.py LIBRARY... [--only SUBSTRING] [--json FILE] [--no-competitors]

LIBRARY: libflashconvert_bench_kernels.so, or several builds of it to compare.
"""

import argparse
import dataclasses
import json
import os
import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from kernel_library import KernelLibrary

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}
CACHE_BYTES = 50 << 20
SECONDS_PER_MEASUREMENT = 0.06


@dataclasses.dataclass
class Shape:
    name: str
    dtype: torch.dtype
    batch: int
    heads: int
    length: int
    head_dim: int
    causal: bool = False
    bias: str = ""  # "additive": [1, H, L, L]; "padding": boolean [B, 1, 1, L]

    def flops(self):
        return 4 * self.batch * self.heads * self.length**2 * self.head_dim / (2 if self.causal else 1)

    def inputs(self, seed):
        generator = torch.Generator("cuda").manual_seed(seed)

        def random(*shape):
            return torch.randn(*shape, generator=generator, device="cuda", dtype=self.dtype)

        packed = [random(self.batch, self.length, self.heads, self.head_dim).transpose(1, 2) for _ in range(3)]
        bias = None
        if self.bias == "additive":
            bias = random(1, self.heads, self.length, self.length)
        elif self.bias == "padding":
            lengths = torch.randint(self.length // 2, self.length + 1, (self.batch, 1, 1, 1), generator=generator,
                                    device="cuda")
            bias = torch.arange(self.length, device="cuda") < lengths
        return packed, bias


def shapes():
    tokens = 16384
    f16, bf16, f32 = torch.float16, torch.bfloat16, torch.float32
    for dtype, name in ((f16, "fp16"), (bf16, "bf16")):
        for causal in (False, True):
            for dim, lengths in ((64, (512, 2048, 8192)), (128, (512, 2048, 8192)), (256, (2048,))):
                for length in lengths:
                    if dtype == bf16 and length != 2048:
                        continue
                    kind = " causal" if causal else ""
                    yield Shape(f"{name} D{dim} L{length}{kind}", dtype, tokens // length, 2048 // dim, length, dim, causal)
    for dim in (32, 80, 96, 192):
        yield Shape(f"fp16 D{dim} L2048", f16, 8, 2048 // dim, 2048, dim)
    for length, dim, batch, heads in ((49, 32, 1024, 16), (50, 64, 512, 12), (64, 64, 512, 12), (128, 64, 256, 12),
                                      (197, 64, 128, 12), (197, 128, 128, 12), (256, 64, 128, 12)):
        yield Shape(f"fp16 D{dim} L{length}", f16, batch, heads, length, dim)
    yield Shape("fp16 D64 L2048 additive", f16, 8, 16, 2048, 64, bias="additive")
    yield Shape("fp16 D64 L2048 padding", f16, 8, 16, 2048, 64, bias="padding")
    yield Shape("fp16 D64 L512 padding", f16, 32, 12, 512, 64, bias="padding")
    yield Shape("fp16 D32 L49 additive", f16, 1024, 16, 49, 32, bias="additive")
    for length, dim, batch, heads in ((197, 64, 64, 12), (512, 64, 32, 12), (2048, 64, 8, 16), (4096, 128, 2, 16),
                                      (2048, 32, 8, 16), (2048, 256, 4, 8)):
        yield Shape(f"fp32 D{dim} L{length}", f32, batch, heads, length, dim)
    yield Shape("fp32 D64 L2048 causal", f32, 8, 16, 2048, 64, True)
    yield Shape("fp32 D64 L512 padding", f32, 32, 12, 512, 64, bias="padding")


def reference_sample(shape, query, key, value, bias):
    """The last head of the last batch entry, in float64."""
    query, key, value = (tensor[-1, -1].double() for tensor in (query, key, value))
    scores = query @ key.T / shape.head_dim**0.5
    if shape.causal:
        hidden = torch.ones(shape.length, shape.length, dtype=torch.bool, device="cuda").triu(1)
        scores.masked_fill_(hidden, float("-inf"))
    if bias is not None:
        bias = bias.expand(shape.batch, shape.heads, shape.length, shape.length)[-1, -1]
        scores = scores.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else scores + bias.double()
    return scores.softmax(-1) @ value


def sample_error(shape, result, reference):
    return ((result[-1, -1].double() - reference).norm() / reference.norm()).item()


def milliseconds(call, inputs):
    """The median time of one call, over replays of a graph that calls once with each input."""
    for tensors, bias in inputs[:2]:
        call(tensors, bias)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for tensors, bias in inputs:
            call(tensors, bias)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def replay():
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    replay()
    once = replay()
    repeats = max(5, min(200, int(SECONDS_PER_MEASUREMENT * 1000 / max(once, 1e-3))))
    return statistics.median(replay() for _ in range(repeats)) / len(inputs)


def candidates(shape, libraries, with_competitors):
    for name, library in libraries.items():
        yield name, lambda tensors, bias, library=library: library.attention(*tensors, bias=bias, causal=shape.causal)
    if not with_competitors:
        return
    for name, backend in BACKENDS.items():
        if name == "math" and shape.batch * shape.heads * shape.length**2 * 4 > 8 << 30:
            continue

        def call(tensors, bias, backend=backend):
            with sdpa_kernel(backend):
                return torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=bias, is_causal=shape.causal)

        yield name, call


def measure(shape, libraries, with_competitors):
    bytes_per_set = 4 * shape.batch * shape.heads * shape.length * shape.head_dim * shape.dtype.itemsize
    sets = max(2, min(16, -(-2 * CACHE_BYTES // bytes_per_set)))
    inputs = [shape.inputs(seed) for seed in range(sets)]
    tensors, bias = inputs[0]
    reference = reference_sample(shape, *tensors, bias)
    row = {"name": shape.name, **{k: str(v) for k, v in dataclasses.asdict(shape).items() if k != "name"}}
    row["kernel"] = next(iter(libraries.values())).kernel_name(*tensors, bias=bias, causal=shape.causal)
    for name, call in candidates(shape, libraries, with_competitors):
        try:
            error = sample_error(shape, call(tensors, bias), reference)
            elapsed = milliseconds(call, inputs)
        except RuntimeError as problem:
            row[name] = {"unavailable": str(problem).splitlines()[0][:120]}
            continue
        row[name] = {"ms": elapsed, "tflops": shape.flops() / elapsed / 1e9, "relative_error": error}
    return row


def print_row(row, names, ours):
    def figure(name):
        return f"{row[name]['tflops']:9.1f}" if "tflops" in row.get(name, {}) else "        -"

    best = max((row[n]["tflops"] for n in BACKENDS if "tflops" in row.get(n, {})), default=0)
    ratio = row[ours]["tflops"] / best if best and "tflops" in row[ours] else float("nan")
    error = row[ours].get("relative_error", float("nan"))
    print(f"{row['name']:26}" + "".join(figure(n) for n in names) + f"{ratio:8.2f} {error:9.1e}  {row['kernel']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="+")
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    parser.add_argument("--no-competitors", action="store_true")
    options = parser.parse_args()
    names = ["ours"] if len(options.library) == 1 else [os.path.basename(path).split(".")[0][-9:] for path in options.library]
    libraries = dict(zip(names, map(KernelLibrary, options.library)))

    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, {properties.multi_processor_count} SMs, torch {torch.__version__}; TFLOP/s")
    columns = names + ([] if options.no_competitors else list(BACKENDS))
    print(f"{'':26}" + "".join(f"{name:>9}" for name in columns) + "   ratio     error  kernel")
    rows = []
    for shape in shapes():
        if options.only in shape.name:
            rows.append(measure(shape, libraries, not options.no_competitors))
            print_row(rows[-1], columns, names[0])
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": properties.name, "torch": torch.__version__, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
