"""The original and the converted module side by side, and one call of both compared."""

import copy
import pathlib
import re
from collections.abc import Callable

import torch
import values
from comparison import FLOAT64, form_difference, largest_distance, rounding_of, slack_of, stride_difference
from exporting import export, namespace_of, reseed, seeded_inputs, widened
from torch.nn.attention import SDPBackend, sdpa_kernel

# Where one rounding of weights and inputs moves the original this far, as a share of the output's scale, a difference says
# nothing.
ILL_CONDITIONED = 0.05


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
    """The result with scaled_dot_product_attention as torch defines it: on the CPU, its kernel is wrong for float64
    operands and a mask that the model itself makes in float32."""
    with sdpa_kernel(SDPBackend.MATH):
        return call(module, arguments)[0]


class Pair:
    """The original and the converted module. `wide` are both in float64, which most comparisons share: what one of them
    leaves in the modules' state, it leaves in both."""

    def __init__(self, source: pathlib.Path, target: pathlib.Path, namespace: dict, add: Callable[[str, str], None]):
        """`add` takes what differs: a kind and words."""
        self.source, self.target, self.namespace, self.add = source, target, namespace, add
        self.dtype = namespace["DTYPE"]
        self.wide = self.load(torch.float64)
        self.has_sdpa = "scaled_dot_product_attention" in str(self.wide[0].inlined_graph)
        self._exact: pathlib.Path | None = None

    def load(self, dtype: torch.dtype | None = None):
        original, converted = torch.jit.load(self.source), torch.jit.load(self.target)
        return (original, converted) if dtype is None else (original.to(dtype), converted.to(dtype))

    @property
    def precision(self) -> torch.dtype | None:
        """The least dtype that the model casts to inside, whatever it is run in: a trace has casts to the dtype of its
        tensors written into the code."""
        own = self.dtype if self.namespace["EXPORT"] == "trace" and self.dtype != torch.float64 else None
        return max(filter(None, (own, self.namespace["PRECISION"])), key=rounding_of, default=None)

    def exact(self) -> torch.jit.ScriptModule:
        """The original as it was saved, in float64, and without what it casts to fewer bits inside where its source is
        known. A new one each time: a call may change a module's state."""
        if not self.namespace.get("SOURCE") or not self.precision:
            return self.load(torch.float64)[0]
        if self._exact is None:
            script = namespace_of(without_casts(self.namespace["SOURCE"]), "<exact>")
            exact = export({**self.namespace, **script, "DTYPE": torch.float64})
            exact.load_state_dict(self.load(torch.float64)[0].state_dict())
            self._exact = self.source.with_name("exact.pt")
            torch.jit.save(exact, self._exact)
        return torch.jit.load(self._exact)

    def allowance(self, arguments: tuple, dtype: torch.dtype, results: tuple) -> float:
        """How far apart the two results may be beyond the floor. From how far the original itself is off in this dtype,
        and from how far one rounding of its inputs moves it; both of the module as it was saved, whatever state the
        compared ones are in."""
        precision = self.precision
        fresh, again = self.load(dtype)[0], self.load(dtype)[0]  # a call may change a module's state
        expected = call(fresh, arguments)[0]
        moved = _disturbed(again, arguments, expected, rounding_of(lower(dtype, precision)))
        if moved > ILL_CONDITIONED:
            return float("inf")
        exact = call(self.exact(), tuple(widened(value) for value in arguments))[0]
        off = float("inf") if isinstance(exact, Exception) else largest_distance(exact, expected)
        # The original with its state changed is not the saved one: to be near what that computes says nothing.
        is_as_saved = largest_distance(expected, results[0]) <= FLOAT64
        if dtype == torch.float64 and precision and is_as_saved:  # the casts inside are all that rounds
            return float("inf") if is_as_near(exact, expected, results[1], precision) else 0.0
        if is_as_saved and off < float("inf") and largest_distance(exact, results[1]) <= slack_of(dtype) + 5 * moved:
            return float("inf")  # the converted is right, whatever rounding does to the original
        return 4 * (off if off < self.namespace["CREDIT"] else 0.0) + 5 * moved

    @property
    def variants(self) -> tuple[int, ...]:
        if not self.namespace["VARIES"]:
            return (values.ORDINARY,)
        return values.VARIANTS if self.namespace["EXTREMES"] else values.VARIANTS[:-1]

    def inputs(self, shape, variant: int, dtype: torch.dtype) -> tuple:
        return seeded_inputs(self.namespace, shape, variant, dtype)

    def compare(
        self, kind: str, modules, arguments: tuple, floor: float, dtype: torch.dtype, strides: bool = False
    ) -> None:
        """One call of each. What is off by more than `floor` is held against the original's own error in this dtype."""
        meets_kernel = dtype == torch.float64 and self.has_sdpa
        before = copy.deepcopy(modules[0]) if meets_kernel else None  # a call may change a module's state
        expected, left = call(modules[0], arguments)
        if isinstance(expected, Exception):
            return
        given, left_converted = call(modules[1], arguments)
        if isinstance(given, Exception):
            self.add("raises" if kind in ("values", "float64", "extremes") else kind, f"raises {last_line(given)}")
            return
        form = form_difference(expected, given)
        if form:
            self.add(form[0] if kind in ("values", "float64", "extremes") else kind, form[1])
        off = largest_distance(expected, given)
        if off > floor and form is None and before is not None:
            off = min(off, largest_distance(without_kernels(before, arguments), given))
        if off > floor and form is None:
            limit = floor + (self.allowance(arguments, dtype, (expected, given)) if off < float("inf") else 0.0)
            if off > limit:
                shapes = [list(leaf.shape) for leaf in arguments if isinstance(leaf, torch.Tensor)]
                self.add(kind, f"off by {off:.2g} of the scale, allowed {limit:.2g}, at {shapes}")
        if largest_distance(left, left_converted) > FLOAT64:
            self.add("argument", "writes other values into an argument")
        # torch chooses a kernel of scaled_dot_product_attention by dtype, mask and device, and each has strides of its own.
        if strides and not self.has_sdpa and form is None and (words := stride_difference(expected, given)):
            self.add("strides", words)


def is_as_near(exact, expected, given, precision: torch.dtype) -> bool:
    """Whether a result is no further than the original's from what the model computes without its casts inside. They may
    be left out or round other values; by chance the original may be off by less than one rounding."""
    if isinstance(exact, Exception) or (off := largest_distance(exact, expected)) == float("inf"):
        return False  # it raises, or something overflows in the casts
    return largest_distance(exact, given) <= rounding_of(precision) + 2 * off


def without_casts(text: str) -> str:
    """The source with casts to float64 in the place of all others."""
    model, inputs, rest = text.partition("def inputs(")
    model = re.sub(r"\.to\(torch\.(b?float16|float32)\)|\.float\(\)", ".to(torch.float64)", model)
    return re.sub(r"dtype=torch\.float(32|16)\)", "dtype=torch.float64)", model) + inputs + rest


def last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2][:200]


def lower(dtype: torch.dtype, precision: torch.dtype | None) -> torch.dtype:
    """The one of the two that rounds more. In float64, a cast to float32 or no cast counts as float32's rounding."""
    return max(dtype, precision or torch.float32, key=rounding_of)


def _disturbed(module, arguments: tuple, expected, size: float) -> float:
    """How far the original moves when each weight and input is off by one rounding."""
    generator = torch.Generator().manual_seed(5)

    def disturb(value):
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        drawn = torch.rand(value.shape, generator=generator, dtype=torch.float64)
        return value * (1 + size * (2 * drawn - 1)).to(value.dtype)

    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(disturb(parameter))
    moved, _ = call(module, tuple(disturb(value) for value in arguments))
    return 0.0 if isinstance(moved, Exception) else largest_distance(expected, moved)
