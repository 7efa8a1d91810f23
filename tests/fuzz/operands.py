"""Queries, keys and values: arguments or projections, in one of the layouts of heads; scaled, cast, rotated, written.

Layouts as in masks.py, with d for features: bhld, nld, bld, and bgrld where key heads are grouped in five dimensions.
"""

from dataclasses import dataclass

from masks import Lengths, sizes_of_inputs
from source import FEATURES, HEADS, KEY_HEADS, WIDTH

GROUPS = HEADS // KEY_HEADS


@dataclass
class Operands:
    query: str
    key: str
    value: str
    layout: str  # of the scores
    lengths: Lengths
    stream: str  # what a residual connection adds
    merged: bool  # whether the heads are to be merged again


def _split_heads(source, place: str, tensor: str, batch: str, length: str, heads: int = HEADS) -> str:
    """[B, L, heads * D] to [B, heads, L, D]."""
    forms = (
        f"{tensor}.view({batch}, {length}, {heads}, {FEATURES}).transpose(1, 2)",
        f"{tensor}.reshape({batch}, -1, {heads}, {FEATURES}).permute(0, 2, 1, 3)",
        f"{tensor}.unflatten(-1, ({heads}, -1)).transpose(1, 2)",
        f"{tensor}.view({batch}, {length}, {heads}, {tensor}.size(-1) // {heads}).permute(0, 2, 1, 3).contiguous()",
        f"torch.stack({tensor}.chunk({heads}, -1), 1)",
        f"torch.einsum('blhd->bhld', {tensor}.view({batch}, {length}, {heads}, {FEATURES}))",
        f"{tensor}.view({batch}, {length}, {FEATURES}, {heads}).permute(0, 3, 1, 2)",
        f"{tensor}.view({batch}, {heads}, {length}, {FEATURES})",  # mixes features and places
    )
    return source.choose(f"{place}.split", *forms, simple=0.4)


def _linear(source, place: str, features: int = WIDTH) -> str:
    bias = source.choose(f"{place}.bias", "", ", bias=False", simple=0.7)
    return source.member("linear", f"nn.Linear({WIDTH}, {features}{bias})")


def _packed(source, x: str, batch: str, length: str) -> tuple[str, str, str]:
    packed = source.let(source.fresh("qkv"), f"{_linear(source, 'packed', 3 * WIDTH)}({x})")
    kind = source.choose("packed.kind", "chunk", "split", "unbind", "select", "per head", "slices", "views")
    if kind == "chunk":
        source.write(f"q0, k0, v0 = {packed}.chunk(3, dim=-1)")
    elif kind == "split":
        source.write(f"q0, k0, v0 = {packed}.split({WIDTH}, dim=2)")
    elif kind == "slices":
        source.write(
            f"q0, k0, v0 = {packed}[..., :{WIDTH}], {packed}[:, :, {WIDTH}:-{WIDTH}], {packed}[..., -{WIDTH}:]"
        )
    elif kind in ("unbind", "select"):
        source.let(packed, f"{packed}.reshape({batch}, {length}, 3, {HEADS}, {FEATURES}).permute(2, 0, 3, 1, 4)")
        source.write(
            f"q, k, v = {packed}.unbind(0)" if kind == "unbind" else f"q, k, v = {packed}[0], {packed}[1], {packed}[2]"
        )
    elif kind == "per head":
        source.let(packed, f"{packed}.view({batch}, {length}, {HEADS}, 3 * {FEATURES}).transpose(1, 2)")
        source.write(f"q, k, v = {packed}.chunk(3, -1)")
    else:
        source.let(packed, f"{packed}.view({batch}, {length}, {HEADS}, 3, {FEATURES})")
        source.write(
            f"q, k, v = {packed}[:, :, :, 0].transpose(1, 2), {packed}[:, :, :, 1].transpose(1, 2), "
            f"{packed}[:, :, :, 2].transpose(1, 2)"
        )
    for name in ("q0", "k0", "v0", "q", "k", "v"):
        source.types[name] = "Tensor"
    if kind in ("chunk", "split", "slices"):
        return "q0", "k0", "v0"
    return "q", "k", "v"


def _from_stream(source, entry: str) -> Operands:
    """Projections of x, and of y for cross-attention."""
    x = source.argument("x", "Tensor", f"values.normal(b, l, {WIDTH})")
    y = source.argument("y", "Tensor", f"values.keys(b, s, {WIDTH}, variant=variant)") if entry == "cross" else x
    lengths = Lengths("lq", "lk", sizes_of_inputs(entry != "cross"))
    source.let("lq", source.choose("length", f"{x}.size(1)", f"{x}.shape[-2]", f"{x}.size(-2)"), kind="int")
    source.let("lk", f"{y}.size(1)", kind="int")
    batch = source.choose("batch", f"{x}.size(0)", f"{x}.shape[0]")
    if entry == "packed":
        names = _packed(source, x, batch, "lq")
        if names[0] == "q":
            return Operands(*names, "bhls", lengths, x, True)
        projected = dict(zip("qkv", names))
    else:
        projected = {"q": f"{_linear(source, 'q')}({x})", "k": f"{_linear(source, 'k')}({y})"}
        tied = source.maybe("v.tied", 0.05)
        projected["v"] = projected["k"] if tied else f"{_linear(source, 'v')}({y})"
    grouped = entry != "packed" and source.maybe("grouped", 0.2)
    for name, length in (("q", "lq"), ("k", "lk"), ("v", "lk")):
        if grouped and name != "q":
            projection = _linear(source, f"{name}.few", KEY_HEADS * FEATURES)
            projected[name] = f"{projection}({y})"
            source.let(name, _split_heads(source, "heads", projected[name], batch, length, KEY_HEADS))
        else:
            source.let(name, _split_heads(source, "heads", projected[name], batch, length))
    layout = _group(source) if grouped else "bhls"
    return Operands("q", "k", "v", layout, lengths, x, True)


def _group(source) -> str:
    """Keys and values of fewer heads brought to the queries'."""
    kind = source.choose("group.kind", "repeat_interleave", "expand", "repeat", "five dimensions", "index", "stack")
    if kind == "five dimensions":
        source.let("q", f"q.unflatten(1, ({KEY_HEADS}, {GROUPS}))")
        source.let("k", "k.unsqueeze(2)")
        source.let("v", "v[:, :, None]")
        return "bgrls"
    for name in ("k", "v"):
        forms = {
            "repeat_interleave": f"{name}.repeat_interleave({GROUPS}, 1)",
            "expand": f"{name}[:, :, None].expand(-1, -1, {GROUPS}, -1, -1)"
            f".reshape({name}.size(0), {HEADS}, -1, {FEATURES})",
            "repeat": f"{name}.repeat(1, {GROUPS}, 1, 1)",
            "index": f"{name}[:, torch.arange({HEADS}) // {GROUPS}]",
            "stack": f"torch.stack([{name}, {name}], 2).flatten(1, 2)",
        }
        source.let(name, forms[kind], f"group.{name}")
    return "bhls"


def _given(source) -> Operands:
    """Three arguments with their heads."""
    layout = source.choose(
        "given.layout", "bhld", "nld", "bld", "blhd", "grouped", "lbhd", "narrow values", "wide batch"
    )
    head = {"bhld": f"{HEADS}, ", "narrow values": f"{HEADS}, ", "wide batch": f"{HEADS}, "}.get(layout, "")
    shapes = {
        "nld": (f"b * {HEADS}, l, {FEATURES}", f"b * {HEADS}, s, {FEATURES}"),
        "blhd": (f"b, l, {HEADS}, {FEATURES}", f"b, s, {HEADS}, {FEATURES}"),
        "lbhd": (f"l, b, {HEADS}, {FEATURES}", f"s, b, {HEADS}, {FEATURES}"),
        "grouped": (f"b, {HEADS}, l, {FEATURES}", f"b, {KEY_HEADS}, s, {FEATURES}"),
    }.get(layout, (f"b, {head}l, {FEATURES}", f"b, {head}s, {FEATURES}"))
    queries, keys = shapes
    if layout == "wide batch":
        queries = f"1, {queries[3:]}"
    values_shape = keys.replace(f"s, {FEATURES}", "s, 3") if layout == "narrow values" else keys
    source.argument("q", "Tensor", f"values.normal({queries})")
    source.argument("k", "Tensor", f"values.keys({keys}, variant=variant)")
    source.argument("v", "Tensor", f"values.keys({values_shape}, variant=variant)")
    order = {"blhd": "(0, 2, 1, 3)", "lbhd": "(1, 2, 0, 3)"}.get(layout)
    if order:
        for name in "qkv":
            source.let(name, f"{name}.permute{order}")
    source.let("lq", source.choose("length", "q.size(-2)", "q.shape[-2]"), kind="int")
    source.let("lk", source.choose("key length", "k.size(-2)", "k.shape[-2]", "v.size(-2)"), kind="int")
    scores = {"nld": "nls", "bld": "bls"}.get(layout, "bhls")
    if layout == "grouped":
        scores = _group(source)
    return Operands("q", "k", "v", scores, Lengths("lq", "lk", sizes_of_inputs(False)), "q", False)


def _change(source, place: str) -> None:
    """One thing that happens to an operand before the product."""
    kinds = ("none", "scale", "cast", "write", "rotary", "norm", "zero key", "cache", "contiguous", "half of scale")
    kind = source.choose(f"{place}.kind", *kinds, "slice", "detach", simple=0.45)
    name = source.choose(f"{place}.operand", "q", "k", "v")
    factor = source.choose(f"{place}.value", 0.5, 0.25, 2.0, -0.5, 0.0, 1.0)
    if kind == "scale":
        source.change(name, scaled(source, place, name, factor), place)
    elif kind == "half of scale":
        source.let("q", f"q * {factor}")
        source.let("k", f"k * {factor}")
    elif kind == "cast":
        dtypes = ("torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")
        dtype = source.cast_to(source.choose(f"{place}.to", *dtypes))
        for operand in source.choose(f"{place}.cast", "qkv", "qk", "v", "q"):
            source.let(operand, f"{operand}.to({dtype})")
    elif kind == "write":
        _write_to(source, place, name, factor)
    elif kind == "rotary":
        for operand, length in (("q", "lq"), ("k", "lk")):
            angle = f"torch.arange({length})[:, None] * 0.1"
            source.let(operand, f"{operand} * torch.cos({angle}) + torch.roll({operand}, 1, -1) * torch.sin({angle})")
    elif kind == "norm":
        source.let(name, f"F.normalize({name}, dim=-1)")
    elif kind in ("zero key", "cache", "slice"):
        _change_keys(source, kind)
    elif kind != "none":
        source.let(name, f"{name}.{kind}()")


def _write_to(source, place: str, name: str, factor: float) -> None:
    """A write to an operand of which a copy or a view was taken before."""
    taken = source.choose(f"{place}.copy", f"{name} * 0.5", f"{name}[..., :2]", f"{name} + 0")
    kept = source.let(source.fresh("copy"), taken)
    source.write(
        source.choose(f"{place}.write", f"{name}.mul_({factor})", f"{name}[..., 0] = 0.0", f"{name}.add_(1.0)")
    )
    of_same_shape = f"{kept} * 1.0 if q.shape == {kept}.shape else q"
    source.let("q", source.choose(f"{place}.then", "q", f"q + {kept}.sum()", of_same_shape))


def _change_keys(source, kind: str) -> None:
    """Another number of keys and values."""
    length = {"zero key": "lk + 1", "cache": "lk * 2", "slice": "lk - lk // 3"}[kind]
    for operand in "kv":
        form = {
            "zero key": f"torch.cat([{operand}, torch.zeros_like({operand}[..., :1, :])], -2)",
            "cache": f"torch.cat([{operand}, {operand}], -2)",
            "slice": f"{operand}[..., : lk - lk // 3, :]",
        }[kind]
        source.let(operand, form)
    source.let("lk", length, kind="int")


def scaled(source, place: str, name: str, value: float) -> str:
    """The tensor times or by a number, however it is spelled."""
    number = source.number(f"{place}.number", value)
    root = f"math.sqrt({source.choose(f'{place}.root', f'{name}.size(-1)', str(FEATURES), f'float({name}.shape[-1])')})"
    forms = (
        f"{name} * {number}",
        f"{name} / {root}",
        f"{name} / {number}" if value else f"{name} * {number}",
        f"torch.mul({name}, {number})",
        f"torch.div({name}, {root})",
        f"{number} * {name}",
        f"{name} * {name}.size(-1) ** -0.5",
        f"{name} * torch.rsqrt(torch.tensor({FEATURES}.0))",
        f"{name} * torch.tensor({name}.size(-1)).pow(-0.5)",
        f"-{name} * {number}",
        f"{name}.mul({number}).div(2)",
        f"{name} / {name}.size(-2)",
        f"{name}.mul_({number})",
    )
    return source.choose(f"{place}.scaled", *forms, simple=0.4)


def write(source) -> Operands:
    entry = source.choose("entry", "given", "self", "packed", "cross")
    operands = _given(source) if entry == "given" else _from_stream(source, entry)
    for place in ("operand.0", "operand.1"):
        _change(source, place)
    return operands
