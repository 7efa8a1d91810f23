"""Real models with one thing changed: a constant, an operator, an operand, a dimension or a mask in the code of the
saved file, mostly near its attention. What a conversion makes of the changed model is held against that model.

The change is drawn from the seed. Where it gives no model that torch runs, others are drawn.
"""

import hashlib
import importlib
import importlib.metadata
import pathlib
import random
import re
import sys
import warnings
from collections.abc import Iterable

import torch
import trial
from archive import Archive, calls_of
from converter import Converter
from exporting import widened

TRIES = 12
ATTENTION = re.compile(
    r"softmax|scaled_dot_product|multi_head_attention|encoder_layer_fwd|baddbmm|bmm|einsum|masked_fill|tri[lu]"
)
NEAR = 14  # lines

# Operators that take the same arguments.
SIBLINGS = (
    ("add", "sub", "rsub", "mul"),
    ("mul", "div", "add", "sub"),
    ("div", "mul", "floor_divide", "remainder"),
    ("lt", "le", "gt", "ge", "eq", "ne"),
    ("tril", "triu"),
    ("__and__", "__or__", "logical_and", "logical_or", "logical_xor"),
    ("softmax", "log_softmax"),
    ("add", "add_"),
    ("mul", "mul_", "div_"),
    ("masked_fill", "masked_fill_"),
    ("matmul", "mul"),
    ("tanh", "sigmoid", "relu", "neg", "exp"),
    ("ones", "zeros"),
    ("ones_like", "zeros_like"),
    ("maximum", "minimum"),
    ("view", "reshape"),
)
WRAPS = (
    "torch.mul({}, 0.5)",
    "torch.neg({})",
    "torch.transpose({}, -2, -1)",
    "torch.masked_fill({0}, torch.gt(torch.triu(torch.ones_like({0}), 1), 0), -inf)",
    "torch.masked_fill({0}, torch.gt(torch.triu(torch.ones_like({0}), 1), 0), -10000.)",
    "torch.masked_fill({0}, torch.gt(torch.tril(torch.ones_like({0}), -3), 0), -inf)",
    "torch.add({}, 1)",
    "torch.tanh({})",
    "torch.clamp({}, -2., 2.)",
    "torch.flip({}, [-1])",
    "torch.to({}, 5)",
    "torch.to({}, 7)",
    "torch.contiguous({})",
    "torch.clone({})",
    "torch.relu({})",
    "torch.roll({}, [1], [-1])",
    "torch.dropout({}, 1., True)",
    "torch.mul_({}, 2)",
    "torch.add({0}, torch.tril(torch.ones_like({0})))",
    "torch.add({0}, torch.to(torch.gt(torch.tril(torch.ones_like({0})), 0), 4))",
    "torch.mul({0}, torch.size({0}, -1))",
    "torch.view({0}, torch.size({0}))",
    "torch.detach({})",
)


def _swap_number(line: str, draw: random.Random) -> str | None:
    literals = re.finditer(r"(?<![\w.\"])-?(\d+\.?\d*(e[-+]?\d+)?|inf)(?![\w.\"])", line)
    found = [match for match in literals if match.start() > line.find("=")]
    if not found:
        return None
    match = draw.choice(found)
    text = match.group()
    if "inf" in text:
        other = draw.choice(["-10000.", "-3.4028234663852886e+38", "0.", "-5.", "inf"])
    elif "." in text or "e" in text:
        other = repr(draw.choice([float(text) * 2, float(text) * 0.5, -float(text), float(text) + 1, 0.0]))
    else:
        other = str(draw.choice([int(text) + 1, int(text) - 1, -int(text), -2, 0, 1]))
    return line[: match.start()] + other + line[match.end() :]


def _swap_operator(line: str, draw: random.Random) -> str | None:
    calls = [(call, group) for call in calls_of(line) for group in SIBLINGS if call.name in group]
    if not calls:
        return None
    call, group = draw.choice(calls)
    other = draw.choice([name for name in group if name != call.name])
    return line[: call.start] + f"torch.{other}(" + line[call.start + len(f"torch.{call.name}(") :]


def _swap_arguments(line: str, draw: random.Random) -> str | None:
    calls = [call for call in calls_of(line) if len(call.arguments) > 1]
    if not calls:
        return None
    call = draw.choice(calls)
    (a, b), (c, d) = call.arguments[:2]
    return line[:a] + line[c:d].strip() + line[b:c] + line[a:b].strip() + line[d:]


def _leave_out(line: str, draw: random.Random) -> str | None:
    calls = [call for call in calls_of(line) if call.arguments]
    if not calls:
        return None
    call = draw.choice(calls)
    return line[: call.start] + call.argument(line, 0) + line[call.end :]


def _wrap(line: str, draw: random.Random) -> str | None:
    spans = [(call.start, call.end) for call in calls_of(line)]
    spans += [call.arguments[0] for call in calls_of(line) if call.arguments]
    spans += [match.span() for match in re.finditer(r"CONSTANTS\.c\d+", line)]
    if not spans:
        return None
    first, last = draw.choice(spans)
    return line[:first] + draw.choice(WRAPS).format(line[first:last].strip()) + line[last:]


def _swap_dimensions(line: str, draw: random.Random) -> str | None:
    lists = [match for match in re.finditer(r"\[(\d+(?:, \d+)+)\]", line)]
    if not lists:
        return None
    match = draw.choice(lists)
    numbers = match.group(1).split(", ")
    a, b = draw.sample(range(len(numbers)), 2)
    numbers[a], numbers[b] = numbers[b], numbers[a]
    return line[: match.start()] + f"[{', '.join(numbers)}]" + line[match.end() :]


CHANGES = (_swap_number, _swap_operator, _swap_arguments, _leave_out, _wrap, _wrap, _swap_dimensions)


def _other_operand(lines: list[str], at: int, draw: random.Random) -> str | None:
    """One operand replaced by another local that stands within a few lines."""
    near = [call.argument(line, 0) for line in lines[max(0, at - 8) : at] for call in calls_of(line) if call.arguments]
    names = sorted({name for name in near if name.isidentifier()})
    spans = [
        span
        for call in calls_of(lines[at])
        for span in call.arguments
        if lines[at][slice(*span)].strip().isidentifier()
    ]
    if not names or not spans:
        return None
    first, last = draw.choice(spans)
    return lines[at][:first] + draw.choice(names) + lines[at][last:]


def _use_again(lines: list[str], at: int, draw: random.Random) -> tuple[int, str] | None:
    """A value of this line used once more, in what the method returns."""
    assigned = re.match(r"    (\w+) = torch\.", lines[at])
    if not assigned:
        return None
    for further in range(at, min(at + 60, len(lines))):
        returned = re.match(r"    return (\w+)$", lines[further])
        if returned:
            return further, f"    return torch.add({returned.group(1)}, torch.mean({assigned.group(1)}))"
        if lines[further].startswith("  def "):
            return None
    return None


def mutate(code: dict[str, list[str]], draw: random.Random) -> tuple[dict[str, list[str]], str] | None:
    """The code with one line changed, and the change in words."""
    name = draw.choice(
        [name for name, lines in code.items() if any(ATTENTION.search(line) for line in lines)] or sorted(code)
    )
    lines = code[name]
    anchors = [at for at, line in enumerate(lines) if ATTENTION.search(line)] or range(len(lines))
    anchor = draw.choice(list(anchors))
    places = [at for at in range(max(0, anchor - NEAR), min(len(lines), anchor + NEAR)) if lines[at].startswith("    ")]
    if not places:
        return None
    at = draw.choice(places)
    kind = draw.random()
    if kind < 0.1:
        changed = _use_again(lines, at, draw)
        at, line = changed if changed else (at, None)
    elif kind < 0.25:
        line = _other_operand(lines, at, draw)
    else:
        line = draw.choice(CHANGES)(lines[at], draw)
    if line is None or line == lines[at]:
        return None
    words = f"{name.rpartition('/')[2]}:{at + 1}: {lines[at].strip()} -> {line.strip()}"
    return {**code, name: [*lines[:at], line, *lines[at + 1 :]]}, words


TESTS = pathlib.Path(__file__).parents[1]
EXPORTED_FROM = (TESTS / "models", TESTS / "support", TESTS.parent / "sample_models")


def stamp_of_exports() -> str:
    """What exports depend on: the code that makes them, and every installed package."""
    found = hashlib.sha256()
    for path in sorted(path for folder in EXPORTED_FROM for path in folder.rglob("*.py")):
        found.update(path.read_bytes())
    found.update(repr(sorted({(one.name, one.version) for one in importlib.metadata.distributions()})).encode())
    return found.hexdigest()


def export_models(folder: pathlib.Path) -> None:
    """Exports the models of tests/models, with the inputs that each takes, unless the folder has these already."""
    stamp, text = folder / "complete", stamp_of_exports()
    if stamp.exists() and stamp.read_text() == text:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in (stamp, *folder.glob("*.pt"), *folder.glob("*.inputs")):
        old.unlink(missing_ok=True)
    sys.path[:0] = map(str, EXPORTED_FROM)
    exports = importlib.import_module("export")
    make_inputs = importlib.import_module("model_case").make_inputs
    for case in exports.all_cases():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(exports.export(case), folder / f"{case.name}.pt")
        shapes = (case.shape, *case.other_shapes)
        torch.save([make_inputs(case, shape) for shape in shapes], folder / f"{case.name}.inputs")
    stamp.write_text(text)


def namespace_of(inputs: list[tuple]) -> dict:
    """What trial.py asks of a model: here the inputs that were saved, by number."""
    floats = [value.dtype for value in inputs[0] if isinstance(value, torch.Tensor) and value.is_floating_point()]
    return {
        "inputs": lambda number, _length, _keys, _variant: tuple(widened(value) for value in inputs[number]),
        "LENGTHS": tuple((number, 0, 0) for number in range(len(inputs))),
        "DTYPE": floats[0] if floats else torch.float32,
        "EXPORT": "mutated",
        "ACTIONS": [],
        "OPTIONS": [],
        "PRECISION": None,
        "VARIES": False,
        "EXTREMES": False,
        "CREDIT": 0.05,
        "USED_AS": "it is",
        "GRADIENTS": False,
        "STRIDES": True,
        "TRAINS": True,
    }


def model_of(seed: int, paths: Iterable[pathlib.Path]) -> pathlib.Path:
    """The model of a seed, by rendezvous hashing: a new model takes its share of the seeds, all others keep theirs."""
    return max(paths, key=lambda path: hashlib.sha256(f"{seed}/{path.stem}".encode()).digest())


def run(seed: int, models: pathlib.Path, converter: Converter, folder: pathlib.Path) -> trial.Trial:
    draw = random.Random(seed)
    path = model_of(seed, models.glob("*.pt"))
    archive = Archive(path)
    code = archive.code()
    namespace = namespace_of(torch.load(path.with_suffix(".inputs"), weights_only=False))
    source, target = folder / "original.pt", folder / "converted.pt"
    for _ in range(TRIES):
        found = trial.Trial(skipped="no change that runs")
        changed = mutate(code, draw)
        if changed is None:
            continue
        archive.write(source, changed[0])
        try:
            torch.jit.load(source)
        except RuntimeError:
            continue
        found = trial.run_saved(namespace, trial.Trial(), converter, (source, target))
        if not found.skipped:
            break
    if found.differences:
        before = unchanged(path, namespace, converter, target)
        found.differences = {
            kind: f"{path.stem}, {changed[1]}: {words}"
            for kind, words in found.differences.items()
            if kind not in before
        }
    return found


def unchanged(path: pathlib.Path, namespace: dict, converter: Converter, target: pathlib.Path) -> set[str]:
    """The kinds of difference that the model has as it is."""
    return set(trial.run_saved(namespace, trial.Trial(), converter, (path, target)).differences)
