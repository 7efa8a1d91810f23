"""Everything that two models are compared in: shapes and dtypes, state, training, gradients, other programs' uses."""

import contextlib

import torch
import values
from comparison import FLOAT64, largest_distance, leaves, slack_of
from exporting import reseed
from pair import Pair, call, copies, is_as_near, last_line, lower


def in_float64(pair: Pair) -> None:
    """Every shape, both modules in float64: what is left is another function, not another rounding."""
    for number, shape in enumerate(pair.namespace["LENGTHS"]):
        for variant in pair.variants if number in (0, 2) else (values.ORDINARY,):
            kind = "extremes" if variant == values.EXTREME else "float64"
            pair.compare(kind, pair.wide, pair.inputs(shape, variant, torch.float64), FLOAT64, torch.float64)


def in_own_dtype(pair: Pair) -> None:
    """As a user runs it, the first shape several times so that torch optimises it."""
    modules = pair.load()
    floor = slack_of(lower(pair.dtype, pair.namespace["PRECISION"]))
    first = pair.namespace["LENGTHS"][0]
    for turn, shape in enumerate((first, first, first, *pair.namespace["LENGTHS"][1:3])):
        for variant in pair.variants[: 1 if 0 < turn < 3 else 2]:
            pair.compare(
                "values",
                modules,
                pair.inputs(shape, variant, pair.dtype),
                floor,
                pair.dtype,
                strides=turn == 0 and pair.namespace["STRIDES"],
            )


def after_actions(pair: Pair) -> None:
    """Exported methods change what the model holds; every call of one is followed by runs."""
    shapes = pair.namespace["LENGTHS"][:2]
    for action in pair.namespace["ACTIONS"]:
        expected, given = (act(module, action) for module in pair.wide)
        if isinstance(given, Exception) and not isinstance(expected, Exception):
            pair.add("state", f"{action} raises {last_line(given)}")
        elif not isinstance(expected, Exception) and largest_distance(expected, given) > FLOAT64:
            pair.add("state", f"{action} returns something else")
        for shape in (*shapes, *shapes):
            pair.compare("state", pair.wide, pair.inputs(shape, values.ORDINARY, torch.float64), FLOAT64, torch.float64)


def act(module, action: str):
    """What a call of an exported method returns, or its exception."""
    return call(lambda: eval(f"module.{action}", {"module": module, "torch": torch}), ())[0]


def in_training(pair: Pair) -> None:
    """After .train(), and after .eval() again. Where dropout makes the original random, the converted has to be."""
    if not pair.namespace["TRAINS"]:
        return
    modules = tuple(module.train() for module in pair.wide)
    arguments = pair.inputs(pair.namespace["LENGTHS"][0], values.ORDINARY, torch.float64)
    results = [[with_seed(module, arguments, seed) for seed in (3, 3, 4)] for module in modules]
    if is_random(results[0]):
        raised = next((result for result in results[1] if isinstance(result, Exception)), None)
        if raised is not None:
            pair.add("train", f"raises {last_line(raised)}")
        elif not is_random(results[1]):
            pair.add("train", "no longer random")
    else:
        pair.compare("train", modules, arguments, FLOAT64, torch.float64)
    for module in modules:
        module.eval()
    pair.compare("train", modules, arguments, FLOAT64, torch.float64)


def with_seed(module, arguments: tuple, seed: int):
    return call(lambda *given: (reseed(seed), module(*given))[1], arguments)[0]


def is_random(results: list) -> bool:
    """Of three results, the first two with one seed: whether the seed, and not a state, makes them differ."""
    if any(isinstance(result, Exception) for result in results):
        return False
    return largest_distance(results[0], results[1]) <= FLOAT64 < largest_distance(results[0], results[2])


def in_grad_mode(pair: Pair) -> None:
    """Which outputs autograd records: with arguments that require gradients, and for the parameters' sake alone."""
    plain = pair.inputs(pair.namespace["LENGTHS"][0], values.ORDINARY, torch.float64)
    wanting = tuple(value.clone().requires_grad_() if _is_float(value) else value for value in plain)
    for arguments in (plain, wanting):
        pair.compare("requires_grad", pair.wide, arguments, FLOAT64, torch.float64)


def gradients(pair: Pair) -> None:
    """Of inputs and of the parameters that both have, through a random sum of each output."""
    if not pair.namespace["GRADIENTS"]:
        return
    modules = pair.load(torch.float64)
    for variant in pair.variants[:2]:
        arguments = pair.inputs(pair.namespace["LENGTHS"][0], variant, torch.float64)
        expected, given = (gradients_of(module, arguments) for module in modules)
        if isinstance(expected, Exception):
            continue
        if isinstance(given, Exception):
            pair.add("gradients", f"raises {last_line(given)}")
            continue
        precision = pair.precision
        exact = gradients_of(pair.exact(), arguments) if precision else None
        largest = max((_magnitude(gradient) for gradient in expected.values() if gradient is not None), default=0.0)
        for name, one in expected.items():
            if name not in given or (words := gradient_difference(one, given[name], largest)) is None:
                continue
            if isinstance(exact, dict) and is_as_near(exact.get(name), one, given[name], precision):
                continue
            pair.add("gradients", f"of {name}: {words}")


def gradients_of(module, arguments: tuple) -> dict[str, torch.Tensor | None] | Exception:
    """By the argument's number or the parameter's name."""
    module.zero_grad()
    given = copies(arguments)
    wanted = {f"argument {number}": value.requires_grad_() for number, value in enumerate(given) if _is_float(value)}
    try:
        # Through copies, so that a model may write to its arguments.
        outputs = module(*(value * 1 if _is_float(value) else value for value in given))
        outputs = [leaf for leaf in leaves(outputs) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
        reseed(11)
        sum((leaf * torch.randn(leaf.shape, dtype=leaf.dtype)).sum() for leaf in outputs).backward()
    except Exception as error:  # a model may raise whatever it likes
        return error
    return {name: value.grad for name, value in {**wanted, **dict(module.named_parameters())}.items()}


def _is_float(value) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _magnitude(tensor: torch.Tensor) -> float:
    return tensor.abs().nan_to_num(0, posinf=0).max().item() if tensor.numel() else 0.0


def gradient_difference(one, other, largest: float) -> str | None:
    """`largest` is the magnitude of all gradients: one that is zero but for rounding has no scale of its own."""
    if (one is None) != (other is None):
        return "none" if other is None else "one where the original has none"
    if one is None or (off := largest_distance(one, other)) <= FLOAT64:
        return None
    is_rounding = max(_magnitude(one), _magnitude(other)) <= FLOAT64 * largest and torch.equal(
        one.isnan(), other.isnan()
    )
    return None if is_rounding else f"off by {off:.2g} of the scale"


def used_as(pair: Pair) -> None:
    """The file as other programs use it: cast, frozen, under autocast, in inference mode."""
    use = pair.namespace["USED_AS"]
    if use == "it is":
        return
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
            pair.add("used as", f"freezing raises {last_line(error)}")
            return
    around = contextlib.nullcontext()
    if use == "autocast":
        around = torch.autocast("cpu", torch.bfloat16)
    elif use == "inference":
        around = torch.inference_mode()
    coarse = torch.bfloat16 if use == "autocast" else dtype
    floor = slack_of(lower(coarse, pair.namespace["PRECISION"]))
    for variant in pair.variants[:2]:
        with around:
            pair.compare("used as", modules, pair.inputs(shape, variant, dtype), floor, coarse)


# What a kind of difference shows in: enough to tell whether a smaller model still has it.
SHOWS_IN = {
    "float64": in_float64,
    "extremes": in_float64,
    "train": in_training,
    "gradients": gradients,
    "used as": used_as,
    "state": after_actions,
    "requires_grad": in_grad_mode,
}


def compare_everything(pair: Pair) -> None:
    with torch.no_grad():
        in_own_dtype(pair)
        used_as(pair)
        with torch.jit.optimized_execution(False):  # faster at changing shapes; in_own_dtype has the executor's passes
            in_float64(pair)
            in_training(pair)
    with torch.jit.optimized_execution(False):
        in_grad_mode(pair)
        gradients(pair)
        with torch.no_grad():
            after_actions(pair)


def compare_one(pair: Pair, kind: str) -> None:
    """What that kind of difference shows in alone."""
    if kind not in SHOWS_IN:
        compare_everything(pair)
        return
    with torch.set_grad_enabled(kind in ("gradients", "requires_grad")), torch.jit.optimized_execution(
        kind == "used as"
    ):
        SHOWS_IN[kind](pair)
