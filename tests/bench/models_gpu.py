#!/usr/bin/env python3
"""Times converted models beside the checkpoints that they come from, on a GPU.

    models_gpu.py export FOLDER [--model NAME]...
    models_gpu.py run FOLDER BUILD_FOLDER [--model NAME]... [--dtype fp16|fp32]... [--compile] [--json FILE]
                  [--markdown FILE] [--quick] [--no-verify]

`export` writes TorchScript files without their weights; it needs no GPU, but timm and a transformers that can be traced.
`run` fills them with random weights, converts each with `--verify --device cuda`, and times original and converted model
as a program calls them: call after call, launches included; and one request alone, with a wait after each call, as a
robot or a server sees it. Errors are those of the verification, against float64, of the output with the largest mean: mean
and largest in units of its largest magnitude. Exit code 1 when a conversion fails, is slower than its original by more than 2 %, or in float32
has a larger mean error.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import torch

from bench_models import DTYPES, MODELS, in_dtype
from emptied_archive import as_traced_on, load_filled, save_emptied
from models_table import ModelTable

SECONDS, QUICK_SECONDS = 1.0, 0.3  # for each candidate
VERIFIED_BATCH = 2
ALLOWED_TIME = 1.02


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write the checkpoints")
    run = commands.add_parser("run", help="convert and time them")
    for command in (export, run):
        command.add_argument("folder", type=pathlib.Path)
        command.add_argument("--model", action="append", choices=[model.name for model in MODELS])
        command.add_argument("--dtype", action="append", choices=DTYPES)
    run.add_argument("build", type=lambda text: pathlib.Path(text).resolve(), help="folder with flashconvert and libflashconvert_ops.so")
    run.add_argument("--compile", action="store_true", help="time torch.compile of the Python model too")
    run.add_argument("--quick", action="store_true", help="shorter times")
    run.add_argument("--no-verify", action="store_true", help="convert without --verify")
    run.add_argument("--json", help="write every figure to this file")
    run.add_argument("--markdown", help="write the table for the documentation to this file")
    return parser.parse_args(arguments)


def chosen(options):
    """(model, form, dtype name) of every checkpoint that is asked for."""
    return [(model, form, dtype) for model in MODELS if not options.model or model.name in options.model
            for form in model.forms for dtype in DTYPES if not options.dtype or dtype in options.dtype]


def archive_path(folder, model, form, dtype):
    return folder / f"{model.name}-{form.replace(' ', '_')}-{dtype}.pt.xz"


def export(options):
    """Traces each form in its dtype, which fixes the dtypes of its masks."""
    warnings.filterwarnings("ignore")
    options.folder.mkdir(parents=True, exist_ok=True)
    for model, form, dtype in chosen(options):
        torch.manual_seed(0)
        module = model.forms[form]().eval().to(DTYPES[dtype])
        arguments = in_dtype(model.inputs(VERIFIED_BATCH, model.traced_length or model.length), DTYPES[dtype])
        with torch.no_grad():
            traced = torch.jit.trace(module, arguments, strict=False, check_trace=False)
        path = archive_path(options.folder, model, form, dtype)
        save_emptied(traced, path)
        print(f"{path.name}  {path.stat().st_size / 1024:.0f} KiB", flush=True)


def convert(source, target, arguments, options):
    """Runs the program; its report."""
    inputs, report = source.with_suffix(".inputs"), target.with_suffix(".json")
    torch.save(arguments, inputs)
    command = [options.build / "flashconvert", source, target, "--report", report]
    if not options.no_verify:
        command += ["--verify", "--device", "cuda", "--inputs", inputs]
    # The program was linked to another machine's LibTorch: this one's stands in for it.
    libraries = os.pathsep.join([os.path.join(os.path.dirname(torch.__file__), "lib"), os.environ.get("LD_LIBRARY_PATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, "LD_LIBRARY_PATH": libraries})
    if done.returncode != 0:
        raise RuntimeError(f"flashconvert ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return json.loads(report.read_text())


def time_in_turns(calls, seconds):
    """Milliseconds a call of each function: medians of batches of calls, the functions in turns."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def elapsed(call, times):
        torch.cuda.synchronize()
        start.record()
        for _ in range(times):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / times

    for call in calls.values():
        for _ in range(4):  # the first ones record types and compile for them
            call()
    once = {name: elapsed(call, 3) for name, call in calls.items()}
    rounds, results = 5, {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            results[name].append(elapsed(call, max(1, round(seconds * 1000 / rounds / once[name]))))
    return {name: statistics.median(times) for name, times in results.items()}


def time_alone(calls, seconds):
    """Milliseconds from a call to its result on the device, medians, the functions in turns."""
    results = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(8):  # the first ones record types and compile for them
            call()
    end = time.monotonic() + seconds * len(calls)
    while time.monotonic() < end:
        for name, call in calls.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            torch.cuda.synchronize()
            results[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in results.items()}


def errors(report):
    """(mean, largest) of the worst output of a verified conversion, original and converted; empty without --verify."""
    outputs = [output for case in (report["parity"] or {"cases": []})["cases"] for output in case["outputs"]]
    if not outputs:
        return {}
    worst = max(outputs, key=lambda output: output["error_mean"])
    return {"original": (worst["error_mean_original"], worst["error_original"]),
            "converted": (worst["error_mean"], worst["error_converted"])}


def caller(module, arguments):
    def call():
        with torch.inference_mode():
            return module(*arguments)

    return call


def measure(model, form, dtype, options, folder):
    """The row of one checkpoint."""
    filled, source, target = (folder / f"{name}.pt" for name in ("filled", "original", "converted"))
    load_filled(archive_path(options.folder, model, form, dtype), seed=1).save(str(filled))
    as_traced_on("cuda:0", filled, source)
    torch.manual_seed(2)
    report = convert(source, target, in_dtype(model.inputs(VERIFIED_BATCH, model.length), DTYPES[dtype]), options)
    arguments = in_dtype(model.inputs(model.batch, model.length), DTYPES[dtype], "cuda")
    modules = {"original": torch.jit.load(source, map_location="cuda"),
               "converted": torch.jit.load(target, map_location="cuda")}
    if options.compile and form == list(model.forms)[-1]:
        eager = model.eager().eval().to("cuda", DTYPES[dtype])
        modules["compiled"] = torch.compile(eager)
    calls = {name: caller(module, arguments) for name, module in modules.items()}
    times = time_in_turns(calls, QUICK_SECONDS if options.quick else SECONDS)
    alone = in_dtype(model.inputs(1, model.alone_length or model.length), DTYPES[dtype], "cuda")
    pair = {name: modules[name] for name in ("original", "converted")}
    waits = time_alone({name: caller(module, alone) for name, module in pair.items()},
                       QUICK_SECONDS if options.quick else SECONDS)
    fused = [site for site in report["attention"] if site["status"] == "fused"]
    return {"model": model.title, "form": form, "dtype": dtype, "ms": times, "fused": len(fused),
            "sites": len(report["attention"]), "alone_ms": waits, "errors": errors(report)}


def run(options):
    torch.ops.load_library(str(options.build / "libflashconvert_ops.so"))
    table, failed = ModelTable(options.compile), []
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; ms a call\n{table.header()}", flush=True)
    for model, form, dtype in chosen(options):
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = measure(model, form, dtype, options, pathlib.Path(folder))
            except RuntimeError as problem:
                failed.append(f"{model.title}, {form}, {dtype}: {problem}")
                continue
        table.rows.append(row)
        print(table.line(row), flush=True)
        if row["ms"]["converted"] > ALLOWED_TIME * row["ms"]["original"]:
            failed.append(f"{model.title}, {form}, {dtype}: slower than the original")
        means = {name: mean for name, (mean, _) in row["errors"].items()}
        if dtype == "fp32" and means and means["converted"] > means["original"]:
            failed.append(f"{model.title}, {form}, {dtype}: a larger mean error than the original's")
        torch.cuda.empty_cache()
    print(*table.summary(), *failed, sep="\n")
    if options.json:
        device = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
        pathlib.Path(options.json).write_text(json.dumps({**device, "rows": table.rows, "failed": failed}, indent=1))
    if options.markdown:
        pathlib.Path(options.markdown).write_text("\n".join(table.markdown()) + "\n")
    return 1 if failed else 0


def main():
    options = parse(sys.argv[1:])
    return export(options) if options.command == "export" else run(options)


if __name__ == "__main__":
    sys.exit(main())
