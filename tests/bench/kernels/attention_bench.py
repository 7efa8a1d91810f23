#!/usr/bin/env python3
"""Times the kernels beside every other way to compute attention, in one run on one card.

    attention_bench.py LIBRARY... [--group NAME]... [--only SUBSTRING]... [--kernel SUBSTRING] [--quick]
                       [--flash-attention-3 FOLDER] [--json FILE] [--markdown FILE]

LIBRARY is libflashconvert_bench_kernels.so, or several builds of it to compare; the first one's ratio to the best
competitor is printed. Inputs rotate over more memory than the second-level cache holds, calls are parts of replayed CUDA
graphs, and the candidates take turns. A sample of every result is compared with float64 first: a wrong one is marked and
counts for nothing. Figures are medians, in TFLOP/s of 2 B H (D + Dv) a visible pair of query and key (a square causal
mask: half of all pairs). The ceiling is the least time that the card's measured matrix product and copy allow.

Exit code 1 when a library of ours is wrong or fails on a shape that it says it takes.
"""

import argparse
import dataclasses
import itertools
import json
import os
import sys
import time

import torch

from attention_shapes import GROUPS, select
from competitors import make_competitors
from kernel_library import KernelLibrary
from measurement import Ceilings, Reference, Replay, is_wrong, time_in_turns
from results_table import ResultTable

SECONDS, QUICK_SECONDS = 0.06, 0.02  # for each candidate and shape
MOST_SETS = 16  # of inputs


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", nargs="+")
    parser.add_argument("--group", action="append", choices=GROUPS, help="shapes to run (repeatable; default: all)")
    parser.add_argument("--only", action="append", default=[], help="a part of a shape's name (repeatable)")
    parser.add_argument("--kernel", default="", help="a part of a kernel's name: run that instead of the preferred one")
    parser.add_argument("--flash-attention-3", metavar="FOLDER", help="a build of it, with its Python interface")
    parser.add_argument("--quick", action="store_true", help="fewer shapes, shorter times")
    parser.add_argument("--no-competitors", action="store_true")
    parser.add_argument("--without", action="append", default=[], help="a competitor to leave out (repeatable)")
    parser.add_argument("--json", help="write every figure to this file")
    parser.add_argument("--markdown", help="write tables for the documentation to this file")
    parser.add_argument("--profile", type=int, metavar="CALLS", help="only call the first library, for a profiler")
    return parser.parse_args(arguments)


def library_names(paths):
    """A column's name for each: "ours" first, then the folder that sets a build apart."""
    return ["ours"] + [os.path.basename(os.path.dirname(os.path.abspath(path)))[-8:] + f"#{number}"
                       for number, path in enumerate(paths[1:], 2)]


def input_sets(shape, cache_bytes):
    sets = max(2, min(MOST_SETS, -(-2 * cache_bytes // shape.least_bytes())))
    return [shape.inputs(seed) for seed in range(sets)]


def our_call(library):
    return lambda shape, tensors, bias: library.attention(*tensors, bias=bias, **library.options(shape))


def prepare(shape, call, inputs, reference):
    """The checked result of one candidate: its row's entry and, where it is right, what to time."""
    try:
        result = call(shape, *inputs[0])
        error = reference.error(result)
        if is_wrong(shape.dtype, error):
            return {"relative_error": error, "wrong": True}, None
        mean, largest = reference.mean_and_largest(result)
        del result
        entry = {"relative_error": error, "mean_error": mean, "largest_error": largest}
        return entry, Replay(lambda tensors, bias: call(shape, tensors, bias), inputs)
    except (RuntimeError, TypeError, AssertionError) as problem:  # as competitors say that they do not take a shape
        return {"unavailable": (str(problem).splitlines() or [repr(problem)])[0][:120]}, None


def measure(shape, libraries, competitors, ceilings, seconds, cache_bytes):
    inputs = input_sets(shape, cache_bytes)
    tensors, bias = inputs[0]
    reference = Reference(shape, tensors, bias)
    first = next(iter(libraries.values()))
    row = {"group": shape.group, "name": shape.name, "dtype": shape.dtype_name, "causal": shape.causal,
           "shape": dataclasses.asdict(shape), "kernel": first.kernel_name(*tensors, bias=bias, **first.options(shape)),
           "ceiling_ms": ceilings.milliseconds(shape), "results": {}}
    calls = {name: our_call(library) for name, library in libraries.items()} | competitors
    replays = {}
    for name, call in calls.items():
        row["results"][name], replay = prepare(shape, call, inputs, reference)
        if replay:
            replays[name] = replay
        try:
            torch.cuda.synchronize()
        except RuntimeError as fault:  # nothing runs on the card from here on
            sys.exit(f"{shape.name}: {name} broke the device: {fault}")
    time_in_turns(list(replays.values()), seconds)
    for name, replay in replays.items():
        milliseconds = replay.median()
        row["results"][name] |= {"ms": milliseconds, "tflops": shape.flops() / milliseconds / 1e9}
    return row


def profile(shapes, library, calls):
    for shape in shapes:
        tensors, bias = shape.inputs(0)
        for _ in range(calls):
            library.attention(*tensors, bias=bias, **library.options(shape))
        torch.cuda.synchronize()
        print(shape.name, library.kernel_name(*tensors, bias=bias, **library.options(shape)))


def write(options, table, rows, properties, ceilings):
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": properties.name, "torch": torch.__version__, "ceilings": dataclasses.asdict(ceilings),
                       "libraries": table.libraries, "competitors": table.competitors, "rows": rows}, file, indent=1)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(f"{properties.name}, torch {torch.__version__}, TFLOP/s.\n\n" + "\n".join(table.markdown(rows)))


def failures(rows, libraries):
    """Our results that are wrong, or missing although the library names a kernel for the shape."""
    for row, library in itertools.product(rows, libraries):
        result = row["results"][library]
        if row["kernel"] and "tflops" not in result:
            yield f"{row['name']}: {library} {result.get('unavailable') or 'is wrong, error %g' % result['relative_error']}"


def main():
    started = time.monotonic()
    options = parse(sys.argv[1:])
    shapes = select(options.group or GROUPS, options.only, options.quick)
    libraries = {name: KernelLibrary(path, options.kernel)
                 for name, path in zip(library_names(options.library), options.library)}
    if options.profile:
        return profile(shapes, next(iter(libraries.values())), options.profile)
    competitors = {} if options.no_competitors else make_competitors(options.flash_attention_3)
    competitors = {name: call for name, call in competitors.items() if name not in options.without}
    seconds = QUICK_SECONDS if options.quick else SECONDS

    properties = torch.cuda.get_device_properties(0)
    ceilings = Ceilings.measure(seconds)
    print(f"{properties.name}, {properties.multi_processor_count} SMs, torch {torch.__version__}; ceilings: "
          f"{ceilings.flops / 1e12:.0f} TFLOP/s, {ceilings.bytes / 1e12:.2f} TB/s")
    table = ResultTable(libraries, competitors)
    print(table.header())
    rows = []
    for shape in shapes:
        rows.append(measure(shape, libraries, competitors, ceilings, seconds, properties.L2_cache_size))
        torch.cuda.empty_cache()  # each graph had a pool of its own
        print(table.line(rows[-1]), flush=True)
    print("", *table.summary(rows), *table.errors(rows), f"{time.monotonic() - started:.0f} s", sep="\n")
    write(options, table, rows, properties, ceilings)
    wrong = list(failures(rows, libraries))
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
