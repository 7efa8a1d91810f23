"""Masks and biases: where they come from, how they are brought to the layout of the scores, and how they are applied.

A layout is a string with a letter a dimension: b batch, h heads (g key heads times r in five dimensions), l queries,
s keys, n batch times heads.
"""

from dataclasses import dataclass

import positions
from source import HEADS

FINITE = ("-1e4", "lowest", "-65504.0", "-10000", "-30.0", "-5.0", "0.0", "-1e9", "-1e30", "3.4e38")
FINITE_IN_16_BITS = FINITE[:-3]


@dataclass(frozen=True)
class Mask:
    """`tensor` is an expression; kind is "hidden" or "visible" (boolean), "integer" (1 where visible) or "bias"."""

    tensor: str
    dims: str
    kind: str


@dataclass
class Lengths:
    """Locals of the model for the two lengths, and what the inputs function calls them."""

    queries: str
    keys: str
    input_sizes: dict[str, str]


def _given(source, place: str, lengths: Lengths, layout: str) -> Mask:
    dims = source.choose(
        f"{place}.dims", "bs", "ls", "bls", "bhls", "s", "hls", "1ls", "11bls", "b1ls", "1s", simple=0.3
    )
    if "h" in dims and "h" not in layout:
        dims = "bls"
    sizes = ", ".join(lengths.input_sizes.get(dim, dim) for dim in dims)
    kind = source.choose(f"{place}.type", "hidden", "visible", "integer", "additive", "bias", "float32", "float16")
    name = source.fresh("mask")
    if kind in ("hidden", "visible"):
        made = f"values.{kind}({sizes}, variant=variant)"
    elif kind == "integer":
        made = f"values.zeros_and_ones({sizes}, variant=variant)"
    elif kind == "additive":
        fill = source.choose(
            f"{place}.hidden_by", 'float("-inf")', "-1e4", "-1e9", "torch.finfo(torch.float32).min", "-65504.0"
        )
        made = f"values.additive({sizes}, variant=variant, fill={fill})"
    else:
        made = f"values.normal({sizes})" + (f".to(torch.{kind})" if kind != "bias" else "")
    optional = source.scripted and source.maybe(f"{place}.optional", 0.2)
    if optional:
        made += " if variant != values.ALL_VISIBLE else None"
    source.argument(name, "Optional[Tensor]" if optional else "Tensor", made)
    if dims == "ls" and kind in ("hidden", "visible", "additive") and not optional:
        parent = {
            "hidden": "torch.ones({0}, {1}, dtype=torch.bool).triu(1)",
            "visible": "torch.ones({0}, {1}, dtype=torch.bool).tril()",
        }
        source.handed[name] = parent.get(
            kind, f"torch.full(({{0}}, {{1}}), {fill if kind == 'additive' else 0}).triu(1)"
        )
    return Mask(name, dims, kind if kind in ("hidden", "visible", "integer") else "bias")


def _of_positions(source, place: str, lengths: Lengths, layout: str) -> Mask:
    source.has_positions = True
    if "scores" in source.types and source.maybe(f"{place}.of scores", 0.3):
        lengths = Lengths("scores.size(-2)", "scores.size(-1)", lengths.input_sizes)
    if source.maybe(f"{place}.table", 0.35):
        made = positions.table(source, place, lengths.queries, lengths.keys)
    else:
        i, j = positions.write_places(source, place, lengths.queries, lengths.keys)
        made = positions.visible(source, place, i, j)
    name = source.let(source.fresh("seen"), made, f"{place}.made")
    if layout == "bhls" and source.maybe(f"{place}.joined", 0.2):
        keys = lengths.input_sizes["s"]
        padding = source.argument(source.fresh("keep"), "Tensor", f"values.visible(b, {keys}, variant=variant)")
        source.let(name, f"{name}[None, None] & {padding}[:, None, None, :]")
        return Mask(name, "bhls", "visible")
    return Mask(name, "ls", source.choose(f"{place}.sense", "visible", "hidden", simple=0.8))


def _bias(source, place: str, lengths: Lengths, layout: str) -> Mask:
    """A bias that the model makes of positions or of parameters."""
    kind = source.choose(f"{place}.bias", "distance", "slopes", "table", "integer table", "heads", "float64")
    if kind == "heads":
        if "h" not in layout:
            kind = "distance"
        else:
            return Mask(source.parameter("bias", f"torch.randn({HEADS}, 1, 1)"), "hls", "bias")
    source.has_positions = True
    i, j = positions.write_places(source, place, lengths.queries, lengths.keys)
    made = positions.distance(source, f"{place}.distance", i, j)
    if kind == "slopes" and "h" in layout:
        slopes = source.buffer("slopes", f"(2.0 ** -torch.arange({HEADS}))[:, None, None]")
        return Mask(source.let(source.fresh("bias"), f"{slopes} * {made}"), "hls", "bias")
    if kind == "table":
        held = source.parameter("table", "torch.randn(17)")
        made = f"{held}[({made}).long().clamp(-8, 8) + 8]"
    if kind == "integer table":
        made = f"({made}).long()"
    if kind == "float64":
        made = f"({made}).double() * 0.1"
    return Mask(source.let(source.fresh("bias"), made, f"{place}.made"), "ls", "bias")


def make(source, place: str, lengths: Lengths, layout: str) -> Mask:
    kind = source.choose(f"{place}.from", "argument", "positions", "bias")
    if kind == "argument":
        return _given(source, place, lengths, layout)
    return (
        _of_positions(source, place, lengths, layout) if kind == "positions" else _bias(source, place, lengths, layout)
    )


def fitted(source, place: str, mask: Mask, layout: str) -> str:
    """The mask as an expression that broadcasts to scores of this layout, one of the ways to write it."""
    tensor, dims = mask.tensor, mask.dims
    if "1" in dims:  # made to broadcast, or not quite: as it is
        return tensor
    if "n" in layout and "b" in dims:
        tensor = f"{tensor}.repeat_interleave({HEADS}, 0)"
        dims = dims.replace("b", "n")
        if "h" in dims:
            tensor, dims = f"{mask.tensor}.flatten(0, 1)", "nls"
    places = [":" if dim in dims else "None" for dim in layout]
    while places and places[0] == "None":
        places.pop(0)
    if "None" not in places:
        form = tensor
    else:
        form = f"{tensor}[{', '.join(places)}]"
    wider = f"{tensor}[{', '.join(':' if dim in dims else 'None' for dim in layout)}]"
    return source.choose(f"{place}.fit", form, wider, f"{form}[None]", f"{form}.clone()", simple=0.75)


def fill(source, place: str, scores: str) -> str:
    numbers = FINITE_IN_16_BITS if source.has_16_bits else FINITE
    chosen = source.choose(f"{place}.fill", 'float("-inf")', *numbers, simple=0.4)
    return source.lowest(scores) if chosen == "lowest" else chosen


def _boolean_forms(source, place: str, s: str, mask: str, hides: bool) -> list[str]:
    flipped = source.choose(f"{place}.negated", f"~{mask}", f"{mask} == 0", f"torch.logical_not({mask})", simple=0.6)
    hidden, seen = (mask, f"({flipped})") if hides else (f"({flipped})", mask)
    number = fill(source, place, s)
    finite = source.choose(f"{place}.finite", "-1e9", "-10000.0", "-1e4", "-1e30", "-50.0")
    return [
        f"{s}.masked_fill({hidden}, {number})",
        f"{s}.masked_fill_({hidden}, {number})",
        f"torch.where({seen}, {s}, {number})",
        f"torch.where({hidden}, torch.full_like({s}, {number}), {s})",
        f"torch.where({seen}, {s}, torch.tensor({number}, dtype={s}.dtype))",
        f"{s} + torch.zeros_like({s}).masked_fill({hidden}, {number})",
        f"{s} + {hidden}.to({s}.dtype) * {finite}",
        f"{s} + (1.0 - {seen}.to({s}.dtype)) * {finite}",
        f"{s} + (1 - {seen}.long()) * -10000",
        f"{s} + {mask}",
        f"{s} + {seen} * 2",
        f"{s} * {seen} + {hidden}.to({s}.dtype) * {finite}",
        f"{s} * {seen}",
        f"torch.where({seen}, {s}, {s} - 1e4)",
        f"torch.max({s}.masked_fill({hidden}, {number}), torch.tensor({source.lowest(s)}, dtype={s}.dtype))",
        f"{s} - 10000.0 * {hidden}",
        f"{s} + torch.log({seen}.to({s}.dtype))",
        f"{s}.masked_fill({hidden}.to(torch.bool), {number}).clamp(min=-1e4)",
    ]


def _bias_forms(source, place: str, s: str, bias: str) -> list[str]:
    c = source.choose(f"{place}.alpha", 0.5, 2.0, -1.0)
    return [
        f"{s} + {bias}",
        f"{bias} + {s}",
        f"torch.add({s}, {bias}, alpha={c})",
        f"{s} - {bias}",
        f"{s} + {bias} * {source.number(f'{place}.factor', c)}",
        f"{s}.add_({bias})",
        f"{s} + {bias}.to({s}.dtype)",
        f"({s} + {bias}).to({s}.dtype)",
        f"{s} * {bias}",
        f"{s} + {bias}.detach()",
        f"{s} + {bias}.float()",
        f"{s} + torch.sigmoid({bias}) * 16",
        f"{s} + {bias}.clamp(-3, 3)",
    ]


def apply(source, place: str, scores: str, lengths: Lengths, layout: str) -> None:
    """One more mask or bias over the scores."""
    mask = make(source, place, lengths, layout)
    optional = source.types.get(mask.tensor) == "Optional[Tensor]"
    fit = fitted(source, place, mask, layout)
    if mask.kind == "integer":
        number = fill(source, place, scores)
        forms = [
            f"{scores}.masked_fill({fit} == 0, {number})",
            f"{scores} + (1.0 - {fit}) * -10000.0",
            f"{scores} + (1 - {fit}) * -10000",
            f"{scores}.masked_fill(~{fit}.bool(), {number})",
            f"{scores} + {fit}",
            f"{scores} + (1.0 - {fit}.to({scores}.dtype)) * {source.lowest(scores)}",
            f"torch.where({fit} > 0, {scores}, {number})",
            f"{scores} * {fit} - 1e10 * (1 - {fit})",
            f"torch.where({fit}.to(torch.uint8) == 1, {scores}, {number})",
        ]
    elif mask.kind == "bias":
        forms = _bias_forms(source, place, scores, fit)
    else:
        forms = _boolean_forms(source, place, scores, fit, mask.kind == "hidden")
    form = source.choose(f"{place}.applied", *forms, simple=0.3)
    if not optional:
        source.change(scores, form, place)
        return
    source.write(f"if {mask.tensor} is not None:")
    source.write(f"    {scores} = {form}")


def sizes_of_inputs(self_attention: bool) -> dict[str, str]:
    return {
        "b": "b",
        "h": str(HEADS),
        "l": "l",
        "s": "l" if self_attention else "s",
    }
