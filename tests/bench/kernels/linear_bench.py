#!/usr/bin/env python3
"""Times the kernels for linear layers in float32 beside cuBLAS's float32, TF32 and float16, in one run on one card.

    linear_bench.py LIBRARY [--group NAME]... [--only SUBSTRING]... [--every-kernel] [--quick] [--json FILE]
                    [--markdown FILE]

LIBRARY is libflashconvert_bench_kernels.so. Inputs rotate over more memory than the second-level cache holds, calls are
parts of replayed CUDA graphs, and the candidates take turns; splitting operands is part of a call. TFLOP/s count
2 M N K. Errors are relative to the mean and to the largest magnitude of a float64 result on the same card.

Exit code 1 when a kernel's mean error is larger than that of cuBLAS in float32 or its largest over 1.25 times theirs, at
shapes that flashconvert::linear gives to it, or when repeated calls differ in any bit.
"""

import argparse
import dataclasses
import json
import sys

import torch

from linear_library import LinearLibrary
from measurement import Replay, time_in_turns

SECONDS, QUICK_SECONDS = 0.06, 0.02  # for each candidate and shape
MOST_SETS = 16  # of inputs
LARGEST_RATIO = 1.25
LEAST_ROWS = 32  # of flashconvert::linear, which leaves fewer to torch (lib/runtime/linear_cuda.cpp)
LAYERS = ((2304, 768), (768, 768), (3072, 768), (768, 3072))  # out features, in features


@dataclasses.dataclass(frozen=True)
class Shape:
    group: str
    rows: int
    out_features: int
    in_features: int

    @property
    def name(self):
        return f"M{self.rows} N{self.out_features} K{self.in_features}"

    def flops(self):
        return 2 * self.rows * self.out_features * self.in_features

    def bytes(self):
        return 4 * (self.rows * self.in_features + self.out_features * (self.in_features + self.rows))

    def inputs(self, seed):
        generator = torch.Generator("cuda").manual_seed(seed)
        randn = lambda *sizes: torch.randn(*sizes, device="cuda", generator=generator)
        weight = randn(self.out_features, self.in_features) * self.in_features**-0.5
        return (randn(self.rows, self.in_features), weight), randn(self.out_features)


def shapes():
    for rows, group in ((16384, "large"), (2048, "medium"), (512, "few"), (197, "few"), (128, "few"), (64, "fewest"),
                        (16, "fewest")):
        for out_features, in_features in LAYERS:
            yield Shape(group, rows, out_features, in_features)
    for out_features, in_features in ((4096, 1024), (1024, 4096), (4096, 4096)):
        yield Shape("large", 8192, out_features, in_features)


def linear_in_float32(tensors, bias, tf32=False):
    torch.backends.cuda.matmul.allow_tf32 = tf32
    return torch.nn.functional.linear(*tensors, bias)


def errors(result, exact):
    difference = (result.double() - exact).abs()
    return (difference.mean() / exact.abs().mean()).item(), (difference.max() / exact.abs().max()).item()


def measure(shape, library, every_kernel, seconds, cache_bytes):
    sets = max(2, min(MOST_SETS, -(-2 * cache_bytes // shape.bytes())))
    inputs = [shape.inputs(seed) for seed in range(sets)]
    tensors, bias = inputs[0]
    names = library.kernel_names(*tensors)
    calls = {"fp32": linear_in_float32, "tf32": lambda t, b: linear_in_float32(t, b, tf32=True)}
    calls |= {name: lambda t, b, name=name: library.linear(*t, b, kernel=name)
              for name in (names if every_kernel else names[:1])}
    exact = torch.nn.functional.linear(tensors[0].double(), tensors[1].double(), bias.double())
    row = {"shape": dataclasses.asdict(shape), "name": shape.name, "group": shape.group, "kernel": (names or [None])[0],
           "results": {}}
    replays = {}
    for name, call in calls.items():
        result = call(tensors, bias)
        mean, largest = errors(result, exact)
        row["results"][name] = {"mean_error": mean, "largest_error": largest,
                                "repeats": torch.equal(result, call(tensors, bias))}
        replays[name] = Replay(call, inputs)
    halves = [(tuple(tensor.half() for tensor in tensors), bias.half()) for tensors, bias in inputs]
    replays["fp16"] = Replay(lambda t, b: torch.nn.functional.linear(*t, b), halves)
    row["results"]["fp16"] = {}
    time_in_turns(list(replays.values()), seconds)
    for name, replay in replays.items():
        milliseconds = replay.median()
        row["results"][name] |= {"ms": milliseconds, "tflops": shape.flops() / milliseconds / 1e9}
    torch.backends.cuda.matmul.allow_tf32 = False
    return row


def ratio(row, name):
    return row["results"]["fp32"]["ms"] / row["results"][name]["ms"]


def failures(row):
    theirs = row["results"]["fp32"]
    for name, result in row["results"].items():
        if name in ("fp32", "tf32", "fp16"):
            continue
        if not result["repeats"]:
            yield f"{row['name']}: {name} gave other bits when it was called again"
        if row["shape"]["rows"] >= LEAST_ROWS and not (result["mean_error"] <= theirs["mean_error"]
                                                       and result["largest_error"] <= LARGEST_RATIO * theirs["largest_error"]):
            yield (f"{row['name']}: {name} has errors {result['mean_error']:.1e}, {result['largest_error']:.1e} beside "
                   f"{theirs['mean_error']:.1e}, {theirs['largest_error']:.1e}")


def line(row, name):
    results, ours = row["results"], row["results"][name]
    cells = "".join(f"{results[column]['tflops']:9.1f}" for column in ("fp32", "tf32", "fp16"))
    return (f"{row['name']:24}{ours['tflops']:9.1f}{cells}{ratio(row, name):8.2f}{1e3 * ours['ms']:10.1f} us"
            f"   {ours['mean_error']:.1e} / {results['fp32']['mean_error']:.1e}"
            f"   {ours['largest_error']:.1e} / {results['fp32']['largest_error']:.1e}  {name}")


def markdown(rows):
    yield ("| M, N, K | ours | cuBLAS fp32 | TF32 | fp16 | ours / fp32 | mean error, ours / fp32 | largest error | tile |")
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- | --- |"
    for row in rows:
        results, ours = row["results"], row["results"].get(row["kernel"])
        if ours is None:
            continue
        theirs, shape = results["fp32"], row["shape"]
        yield (f"| {shape['rows']}, {shape['out_features']}, {shape['in_features']} | {ours['tflops']:.1f} | "
               f"{theirs['tflops']:.1f} | {results['tf32']['tflops']:.0f} | {results['fp16']['tflops']:.0f} | "
               f"{ratio(row, row['kernel']):.2f} | {ours['mean_error']:.1e} / {theirs['mean_error']:.1e} | "
               f"{ours['largest_error']:.1e} / {theirs['largest_error']:.1e} | {row['kernel'].rsplit('-', 1)[1]} |")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--group", action="append", choices=("large", "medium", "few", "fewest"))
    parser.add_argument("--only", action="append", default=[], help="a part of a shape's name (repeatable)")
    parser.add_argument("--every-kernel", action="store_true", help="not the preferred one alone")
    parser.add_argument("--quick", action="store_true", help="shorter times")
    parser.add_argument("--json", help="write every figure to this file")
    parser.add_argument("--markdown", help="write a table for the documentation to this file")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    library = LinearLibrary(options.library)
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, torch {torch.__version__}; errors: ours / fp32")
    print(f"{'TFLOP/s':24}{'ours':>9}{'fp32':>9}{'tf32':>9}{'fp16':>9}{'ratio':>8}{'time':>13}   mean error"
          f"          largest error")
    rows = []
    for shape in shapes():
        if (options.group and shape.group not in options.group) or options.only and not any(text in shape.name for text in options.only):
            continue
        row = measure(shape, library, options.every_kernel, QUICK_SECONDS if options.quick else SECONDS,
                      properties.L2_cache_size)
        rows.append(row)
        for name in row["results"]:
            if name not in ("fp32", "tf32", "fp16"):
                print(line(row, name), flush=True)
        torch.cuda.empty_cache()
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": properties.name, "torch": torch.__version__, "rows": rows}, file, indent=1)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write("\n".join([f"{properties.name}, torch {torch.__version__}, TFLOP/s.\n", *markdown(rows), ""]))
    wrong = [fault for row in rows for fault in failures(row)]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
