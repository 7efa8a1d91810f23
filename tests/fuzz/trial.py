"""One model: exported from its source, converted, and run beside the original in every way that its source names."""

import pathlib
from dataclasses import dataclass, field

import torch
import uses
from converter import Conversion, Converter
from exporting import export, namespace_of, seeded_inputs
from pair import Pair, call, last_line

# The kinds of difference, the gravest first: a reduction keeps the first that a model has.
KINDS = (
    *("crash", "exit", "load", "raises", "structure", "shape", "float64", "values", "dtype", "state", "train"),
    *("argument", "used as", "extremes", "gradients", "requires_grad", "strides", "report"),
)


@dataclass
class Trial:
    skipped: str | None = None  # why the source gave no model to compare
    conversion: Conversion | None = None
    differences: dict[str, str] = field(default_factory=dict)  # kind to the first of it, in words

    def add(self, kind: str, words: str) -> None:
        self.differences.setdefault(kind, words)

    @property
    def gravest(self) -> str | None:
        return min(self.differences, key=KINDS.index) if self.differences else None


def run(text: str, name: str, converter: Converter, folder: pathlib.Path, kind: str | None = None) -> Trial:
    """Everything that is compared for the model of one source text, or what shows one kind of difference."""
    trial = Trial()
    source, target = folder / "original.pt", folder / "converted.pt"
    try:
        namespace = {**namespace_of(text, name), "SOURCE": text}
        torch.jit.save(export(namespace), source)
    except Exception as error:
        trial.skipped = f"{type(error).__name__}: {last_line(error)}"
        return trial
    return run_saved(namespace, trial, converter, (source, target), kind)


def run_saved(
    namespace: dict,
    trial: Trial,
    converter: Converter,
    paths: tuple[pathlib.Path, pathlib.Path],
    kind: str | None = None,
) -> Trial:
    """The same for a model that is saved at the first path; the second is where its conversion goes."""
    source, target = paths
    example, _ = call(torch.jit.load(source), seeded_inputs(namespace, namespace["LENGTHS"][0], 0, namespace["DTYPE"]))
    if isinstance(example, Exception):
        trial.skipped = f"does not run: {last_line(example)}"
        return trial
    trial.conversion = converter.convert(source, target, *namespace["OPTIONS"])
    if trial.conversion.exit_code is None:
        trial.add("crash", trial.conversion.signal)
        return trial
    if trial.conversion.exit_code != 0:
        trial.add("exit", f"{trial.conversion.exit_code}: {trial.conversion.error}")
        return trial
    if target.read_bytes() == source.read_bytes():
        return trial
    try:
        pair = Pair(source, target, namespace, trial.add)
    except RuntimeError as error:
        trial.add("load", last_line(error))
        return trial
    if kind:
        uses.compare_one(pair, kind)
    else:
        uses.compare_everything(pair)
    return trial
