"""One model: exported from its source, converted, and run beside the original in every way that its source names."""

import contextlib
import linecache
import pathlib
import re
import sys
import types
import warnings
from dataclasses import dataclass, field

import torch
import values
from torch.nn.attention import SDPBackend, sdpa_kernel

from comparison import (
    FLOAT64,
    SLACK,
    form_difference,
    largest_distance,
    leaves,
    rounding_of,
    stride_difference,
)
from converter import Conversion, Converter

# The original's own error counts up to here, as a share of the output's scale.
LARGEST_CREDIT = 0.05

# The kinds of difference, the gravest first: a reduction keeps the first that a model has.
KINDS = ("crash", "exit", "load", "raises", "structure", "shape", "float64", "values", "dtype", "state", "train", "argument",
         "used as", "gradients", "requires_grad", "strides", "report")  # fmt: skip


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


def reseed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks at every other device as well


def namespace_of(text: str, name: str) -> dict:
    """Runs the source text; torch.jit.script finds its lines."""
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    module = sys.modules["generated"] = types.ModuleType("generated")
    module.__file__ = name
    exec(compile(text, name, "exec"), vars(module))
    return vars(module)


def seeded_inputs(namespace: dict, shape: tuple[int, int, int], variant: int, dtype: torch.dtype) -> tuple:
    reseed(7919 * variant + 31 * shape[0] + 7 * shape[1] + shape[2])
    drawn = namespace["inputs"](*shape, variant)
    return tuple(in_dtype(value, dtype) for value in drawn)


def in_dtype(value, dtype: torch.dtype):
    """Floats in float64 stand for the model's dtype; a mask's lowest number stays finite. In float64 all floats are: torch's
    scaled_dot_product_attention is wrong on the CPU for float64 operands and a float32 mask."""
    if dtype == torch.float64:
        return widened(value)
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
        return value
    limit = torch.finfo(dtype).max
    return torch.where(value.isfinite(), value.clamp(-limit, limit), value).to(dtype)


def export(namespace: dict) -> torch.jit.ScriptModule:
    reseed(0)
    model = namespace["Model"]().eval().to(namespace["DTYPE"])
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(namespace["FAST_PATH"])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if namespace["EXPORT"] == "script":
                return torch.jit.script(model)
            example = seeded_inputs(namespace, namespace["LENGTHS"][0], values.ORDINARY, namespace["DTYPE"])
            return torch.jit.trace(model, example, strict=False, check_trace=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def copies(arguments: tuple) -> tuple:
    return tuple(value.clone() if isinstance(value, torch.Tensor) else value for value in arguments)


def call(module, arguments: tuple):
    """The result and the arguments as the call left them, or the exception."""
    given = copies(arguments)
    reseed(3)
    try:
        return module(*given), given
    except Exception as error:  # a model may raise whatever it likes
        return error, given


def without_kernels(module, arguments: tuple):
    """The result with scaled_dot_product_attention as torch defines it: on the CPU, its kernel is wrong for float64 operands
    and a mask that the model itself makes in float32."""
    with sdpa_kernel(SDPBackend.MATH):
        return call(module, arguments)[0]


class Pair:
    """The original and the converted module. `wide` are both in float64, which most comparisons share: what one of them
    leaves in the modules' state, it leaves in both."""

    def __init__(self, source: pathlib.Path, target: pathlib.Path, namespace: dict, trial: Trial):
        self.source, self.target, self.namespace, self.trial = source, target, namespace, trial
        self.dtype = namespace["DTYPE"]
        self.wide = self.load(torch.float64)
        self._exact: torch.jit.ScriptModule | None = None

    def load(self, dtype: torch.dtype | None = None):
        original, converted = torch.jit.load(self.source), torch.jit.load(self.target)
        return (original, converted) if dtype is None else (original.to(dtype), converted.to(dtype))

    @property
    def wide_floor(self) -> float:
        """What two right models may be apart in float64 by themselves."""
        precision = self.namespace["PRECISION"]
        return SLACK * rounding_of(precision) if precision else FLOAT64

    def exact(self) -> torch.jit.ScriptModule:
        """The original in float64, and without what it casts to fewer bits inside where its source is known."""
        if self._exact is None:
            text = self.namespace.get("SOURCE")
            if text and self.namespace["PRECISION"]:
                widened_text = re.sub(r"\.to\(torch\.\w+\)|\.float\(\)", ".to(torch.float64)", text.partition("def inputs(")[0])
                widened_text = re.sub(r"dtype=torch\.float(32|16)\)", "dtype=torch.float64)", widened_text)
                script = namespace_of(widened_text + text.removeprefix(text.partition("def inputs(")[0]), "<exact>")
                self._exact = export({**self.namespace, **script, "DTYPE": torch.float64})
                self._exact.load_state_dict(self.load(torch.float64)[0].state_dict())
            else:
                self._exact = self.load(torch.float64)[0]
        return self._exact

    def allowance(self, arguments: tuple, dtype: torch.dtype) -> float:
        """From how far the original itself is off in this dtype, and from how far one rounding of its inputs moves it. Both
        of the module as it was saved, whatever state the compared ones are in."""
        fresh = self.load(dtype)[0]
        expected = call(fresh, arguments)[0]
        off = 0.0
        with contextlib.suppress(Exception):
            off = largest_distance(call(self.exact(), tuple(widened(value) for value in arguments))[0], expected)
        off = off if off < LARGEST_CREDIT else 0.0  # beyond, the original is another function in float64
        moved = _disturbed(fresh, arguments, expected, rounding_of(lower(dtype, self.namespace["PRECISION"])))
        return 4 * off + 5 * (moved if moved < LARGEST_CREDIT else 0.0)

    @property
    def variants(self) -> tuple[int, ...]:
        return values.VARIANTS if self.namespace["VARIES"] else (values.ORDINARY,)

    def inputs(self, shape, variant: int, dtype: torch.dtype) -> tuple:
        return seeded_inputs(self.namespace, shape, variant, dtype)

    def compare(self, kind: str, modules, arguments: tuple, floor: float, dtype: torch.dtype, strides: bool = False) -> None:
        """One call of each. What is off by more than `floor` is held against the original's own error in this dtype."""
        expected, left = call(modules[0], arguments)
        if isinstance(expected, Exception):
            return
        given, left_converted = call(modules[1], arguments)
        if isinstance(given, Exception):
            self.trial.add("raises" if kind in ("values", "float64") else kind, f"raises {last_line(given)}")
            return
        form = form_difference(expected, given)
        if form:
            self.trial.add(form[0] if kind in ("values", "float64") else kind, form[1])
        off = largest_distance(expected, given)
        if off > floor and form is None:
            off = min(off, largest_distance(without_kernels(modules[0], arguments), given))
        if off > floor and form is None:
            limit = floor + self.allowance(arguments, dtype)
            if off > limit:
                shapes = [list(leaf.shape) for leaf in arguments if isinstance(leaf, torch.Tensor)]
                self.trial.add(kind, f"off by {off:.2g} of the scale, allowed {limit:.2g}, at {shapes}")
        if largest_distance(left, left_converted) > FLOAT64:
            self.trial.add("argument", "writes other values into an argument")
        if strides and form is None and (words := stride_difference(expected, given)):
            self.trial.add("strides", words)


def last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2][:200]


def _disturbed(module, arguments: tuple, expected, size: float) -> float:
    """How far the original moves when each weight and input is off by one rounding."""
    generator = torch.Generator().manual_seed(5)

    def disturb(value):
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return value * (1 + size * (2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1)).to(value.dtype)

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(disturb(parameter))
    moved, _ = call(module, tuple(disturb(value) for value in arguments))
    return 0.0 if isinstance(moved, Exception) else largest_distance(expected, moved)


def in_float64(pair: Pair) -> None:
    """Every shape, both modules in float64: what is left is another function, not another rounding."""
    for number, shape in enumerate(pair.namespace["LENGTHS"]):
        for variant in pair.variants if number in (0, 2) else (values.ORDINARY,):
            pair.compare("float64", pair.wide, pair.inputs(shape, variant, torch.float64), pair.wide_floor, torch.float64)


def in_own_dtype(pair: Pair) -> None:
    """As a user runs it, the first shape several times so that torch optimises it."""
    modules = pair.load()
    floor = SLACK * rounding_of(lower(pair.dtype, pair.namespace["PRECISION"]))
    first = pair.namespace["LENGTHS"][0]
    for turn, shape in enumerate((first, first, first, *pair.namespace["LENGTHS"][1:3])):
        for variant in pair.variants[: 1 if 0 < turn < 3 else 2]:
            pair.compare("values", modules, pair.inputs(shape, variant, pair.dtype), floor, pair.dtype, strides=turn == 0 and pair.namespace["STRIDES"])


def lower(dtype: torch.dtype, precision: torch.dtype | None) -> torch.dtype:
    """The one of the two that rounds more. In float64, a cast to float32 or no cast counts as float32's rounding."""
    return max(dtype, precision or torch.float32, key=rounding_of)


def widened(value):
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def after_actions(pair: Pair) -> None:
    """Exported methods change what the model holds; every call of one is followed by runs."""
    shapes = pair.namespace["LENGTHS"][:2]
    for action in pair.namespace["ACTIONS"]:
        for module in pair.wide:
            with contextlib.suppress(RuntimeError):
                eval(f"module.{action}", {"module": module, "torch": torch})
        for shape in shapes:
            for _ in range(2):
                pair.compare("state", pair.wide, pair.inputs(shape, values.ORDINARY, torch.float64), pair.wide_floor, torch.float64)


def in_training(pair: Pair) -> None:
    """After .train(), and after .eval() again. Where dropout makes the original random, the converted has to be."""
    modules = tuple(module.train() for module in pair.wide)
    arguments = pair.inputs(pair.namespace["LENGTHS"][0], values.ORDINARY, torch.float64)
    results = [[with_seed(module, arguments, seed) for seed in (3, 3, 4)] for module in modules]
    if is_random(results[0]):
        if not is_random(results[1]) and not any(isinstance(result, Exception) for result in results[1]):
            pair.trial.add("train", "no longer random")
    else:
        pair.compare("train", modules, arguments, pair.wide_floor, torch.float64)
    for module in modules:
        module.eval()
    pair.compare("train", modules, arguments, pair.wide_floor, torch.float64)


def with_seed(module, arguments: tuple, seed: int):
    return call(lambda *given: (reseed(seed), module(*given))[1], arguments)[0]


def is_random(results: list) -> bool:
    """Of three results, the first two with one seed: whether the seed, and not a state, makes them differ."""
    if any(isinstance(result, Exception) for result in results):
        return False
    return largest_distance(results[0], results[1]) <= FLOAT64 < largest_distance(results[0], results[2])


def gradients(pair: Pair) -> None:
    """Of inputs and of the parameters that both have, through a random sum of each output."""
    for variant in pair.variants[:2]:
        found = []
        for module in pair.wide:
            module.zero_grad()
            arguments = copies(pair.inputs(pair.namespace["LENGTHS"][0], variant, torch.float64))
            wanted = [value for value in arguments if isinstance(value, torch.Tensor) and value.is_floating_point()]
            wanted = [value.requires_grad_() for value in wanted]
            try:
                # Through copies, so that a model may write to its arguments.
                outputs = module(*(value * 1 if isinstance(value, torch.Tensor) and value.requires_grad else value for value in arguments))
                outputs = [leaf for leaf in leaves(outputs) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
                reseed(11)
                sum((leaf * torch.randn(leaf.shape, dtype=leaf.dtype)).sum() for leaf in outputs).backward()
                found.append([value.grad for value in wanted] + [dict(module.named_parameters())])
            except Exception as error:
                found.append(error)
        _compare_gradients(pair.trial, *found)


def _compare_gradients(trial: Trial, expected, given) -> None:
    if isinstance(expected, Exception):
        return
    if isinstance(given, Exception):
        trial.add("gradients", f"raises {last_line(given)}")
        return
    of_parameters = expected.pop(), given.pop()
    names = [name for name in of_parameters[0] if name in of_parameters[1]]
    pairs = list(zip(expected, given)) + [(of_parameters[0][name].grad, of_parameters[1][name].grad) for name in names]
    for one, other in pairs:
        if (one is None) != (other is None):
            trial.add("gradients", f"{'none' if other is None else 'one'} where the original has {'none' if one is None else 'one'}")
        elif one is not None and (off := distance_of_gradients(one, other)) > 1e-4:
            trial.add("gradients", f"off by {off:.2g} of the scale")


def distance_of_gradients(one: torch.Tensor, other: torch.Tensor) -> float:
    if max(one.abs().nan_to_num(0).max().item(), other.abs().nan_to_num(0).max().item()) < 1e-9 and not one.isnan().any():
        return 0.0 if not other.isnan().any() else float("inf")
    return largest_distance(one, other)


def used_as(pair: Pair) -> None:
    """The file as other programs use it: cast, frozen, under autocast, in inference mode."""
    use = pair.namespace["USED_AS"]
    shape = pair.namespace["LENGTHS"][0]
    dtype = {"half": torch.float16, "bfloat16": torch.bfloat16}.get(use, pair.dtype)
    modules = pair.load(dtype if use in ("half", "bfloat16") else None)
    if use == "frozen":
        try:
            frozen = torch.jit.freeze(modules[0])
        except Exception:  # torch cannot freeze it
            return
        try:
            modules = (frozen, torch.jit.freeze(modules[1]))
        except Exception as error:
            pair.trial.add("used as", f"freezing raises {last_line(error)}")
            return
    around = contextlib.nullcontext()
    if use == "autocast":
        around = torch.autocast("cpu", torch.bfloat16)
    elif use == "inference":
        around = torch.inference_mode()
    coarse = torch.bfloat16 if use == "autocast" else dtype
    floor = SLACK * rounding_of(lower(coarse, pair.namespace["PRECISION"]))
    for variant in pair.variants[:2]:
        with around:
            pair.compare("used as", modules, pair.inputs(shape, variant, dtype), floor, coarse)


def run(text: str, name: str, converter: Converter, folder: pathlib.Path) -> Trial:
    """Everything that is compared for the model of one source text."""
    trial = Trial()
    source, target = folder / "original.pt", folder / "converted.pt"
    try:
        namespace = {**namespace_of(text, name), "SOURCE": text}
        torch.jit.save(export(namespace), source)
    except Exception as error:
        trial.skipped = f"{type(error).__name__}: {last_line(error)}"
        return trial
    return run_saved(namespace, trial, converter, source, target)


def run_saved(namespace: dict, trial: Trial, converter: Converter, source: pathlib.Path, target: pathlib.Path) -> Trial:
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
    pair = Pair(source, target, namespace, trial)
    try:
        pair.load()
    except Exception as error:
        trial.add("load", last_line(error))
        return trial
    compare_everything(pair)
    return trial


def compare_everything(pair: Pair) -> None:
    with torch.no_grad():
        in_own_dtype(pair)
        if pair.namespace["USED_AS"] != "it is":
            used_as(pair)
        with torch.jit.optimized_execution(False):  # faster at changing shapes; in_own_dtype has the executor's passes
            in_float64(pair)
            if pair.namespace["TRAINS"]:
                in_training(pair)
    with torch.jit.optimized_execution(False):
        if pair.namespace["GRADIENTS"]:
            gradients(pair)
        with torch.no_grad():
            after_actions(pair)
