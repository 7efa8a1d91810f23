"""Runs the program on a checkpoint, and compares what came out with what went in without asking the program.

Environment: FLASHCONVERT is the program, FLASHCONVERT_OPS the operator library; `load_checkpoint`, the C++ program that
loads a converted checkpoint as a server would, lies beside the program.
"""

import contextlib
import json
import os
import pathlib
import subprocess
from dataclasses import dataclass

import torch

PROGRAM = pathlib.Path(os.environ["FLASHCONVERT"])
OPERATORS = pathlib.Path(os.environ["FLASHCONVERT_OPS"])

# What an output may be off beyond twice the original's own error, as a share of the output's largest magnitude: a few
# units in the last place, for another order of the same sums.
ROUNDING = {
    torch.float16: 4 * torch.finfo(torch.float16).eps,
    torch.float32: 16 * torch.finfo(torch.float32).eps,
    torch.float64: 16 * torch.finfo(torch.float64).eps,
}

# Beyond this error the original is another function than the reference, and twice its error would allow anything.
FAITHFUL = {torch.float16: 1e-2, torch.float32: 1e-4, torch.float64: 1e-4}


@dataclass(frozen=True)
class Conversion:
    exit_code: int
    report: dict | None
    log: str


def load_operators() -> None:
    torch.ops.load_library(str(OPERATORS))


def convert(source: pathlib.Path, target: pathlib.Path, *options: str) -> Conversion:
    """flashconvert SOURCE TARGET OPTIONS, with the report read back."""
    report = target.with_suffix(".report.json")
    command = [PROGRAM, source, target, "--report", report, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(report.read_text()) if report.exists() else None
    return Conversion(done.returncode, found, done.stderr + done.stdout)


def named_tensors(value, name: str = "output") -> dict[str, torch.Tensor]:
    """The tensors of a nested result, by where they stand in it."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    if isinstance(value, dict):
        parts = [(f"{name}[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{name}[{index}]", part) for index, part in enumerate(value)]
    else:
        parts = []
    return {found: tensor for part_name, part in parts for found, tensor in named_tensors(part, part_name).items()}


def in_float64(values):
    """The same arguments with floats in double precision."""
    return tuple(
        value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value for value in values
    )


@contextlib.contextmanager
def default_float64():
    """Models make tensors of their own (a mask, positions) in the default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _error(actual: torch.Tensor, reference: torch.Tensor, scale: float) -> float:
    difference = (actual.double() - reference)[~reference.isnan()]
    return difference.abs().max().item() / scale if difference.numel() else 0.0


def difference(name: str, original: torch.Tensor, converted: torch.Tensor, reference: torch.Tensor) -> str | None:
    """Why `converted` is not as good as `original`, both judged against a float64 `reference`; None when it is."""
    if converted.shape != original.shape or converted.dtype != original.dtype:
        return f"{name}: {converted.dtype}{list(converted.shape)} instead of {original.dtype}{list(original.shape)}"
    if not original.is_floating_point():
        return None if torch.equal(original, converted) else f"{name}: not equal"
    if not torch.equal(original.isnan(), converted.isnan()):
        return f"{name}: NaN at other places"
    finite = reference[reference.isfinite()]
    scale = max(finite.abs().max().item(), 1e-30) if finite.numel() else 1.0
    error_original = _error(original, reference, scale)
    if error_original > FAITHFUL[original.dtype]:
        return f"{name}: the original is {error_original:.2e} off the float64 reference, which then proves nothing"
    allowed = 2 * error_original + ROUNDING[original.dtype]
    error = _error(converted, reference, scale)
    return None if error <= allowed else f"{name}: error {error:.2e} of the output's scale, allowed {allowed:.2e}"


def differences(original, converted, reference) -> list[str]:
    """The same for every tensor of three nested results of one structure."""
    original, converted, reference = named_tensors(original), named_tensors(converted), named_tensors(reference)
    if list(original) != list(converted):
        return [f"outputs {list(converted)} instead of {list(original)}"]
    found = (difference(name, original[name], converted[name], reference[name].double()) for name in original)
    return [line for line in found if line]


def run_in_cpp(checkpoint: pathlib.Path, arguments: tuple, outputs) -> str | None:
    """Loads and runs a converted checkpoint in a C++ program; None when its outputs are those that Python got."""
    inputs_file, outputs_file = checkpoint.with_suffix(".inputs"), checkpoint.with_suffix(".outputs")
    torch.save(tuple(arguments), inputs_file)
    torch.save(tuple(named_tensors(outputs).values()), outputs_file)
    command = [PROGRAM.parent / "load_checkpoint", OPERATORS, checkpoint, inputs_file, outputs_file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return None if done.returncode == 0 else done.stderr
