"""From the operands to the result: the products, and what happens to scores and weights between them."""

import masks
from operands import Operands, scaled
from source import FEATURES, HEADS, KEY_HEADS

STEPS = 4


def _letters(layout: str) -> tuple[str, str, str]:
    batch = layout[:-2]
    return f"{batch}ld", f"{batch}sd", f"{batch}ls"


def write_product(source, operands: Operands) -> str:
    query, key, lengths = operands.query, operands.key, operands.lengths
    batch = ", ".join(f"{query}.size({dim})" for dim in range(len(operands.layout) - 2))
    leading = ", ".join(str(dim) for dim in range(len(operands.layout) - 2))
    left, right, result = _letters(operands.layout)
    right_here = right.replace("r", "") if operands.layout == "bgrls" else right
    key_here = f"{key}.squeeze(2)" if operands.layout == "bgrls" else key
    forms = [
        f"{query} @ {key}.transpose(-2, -1)",
        f"torch.matmul({query}, {key}.mT)",
        f'torch.einsum("{left},{right_here}->{result}", {query}, {key_here})',
        f"({key} @ {query}.transpose(-2, -1)).transpose(-2, -1)",
        f"torch.matmul({query} * 0.5, {key}.transpose(-1, -2))",
        f"({query}.unsqueeze(-2) * {key}.unsqueeze(-3)).sum(-1)",
        f"{query} @ {query}.transpose(-2, -1)",
        f"torch.matmul({query}, {key}.permute({leading}, -1, -2).contiguous())",
    ]
    flat = f"{query}.reshape(-1, {lengths.queries}, {FEATURES})"
    flat += f", {key}.reshape(-1, {lengths.keys}, {FEATURES}).transpose(1, 2)"
    back = f".view({batch}, {lengths.queries}, {lengths.keys})" if "n" not in operands.layout else ""
    if operands.layout != "bgrls":
        alpha = source.choose("product.alpha", 0.5, 1.0, 2.0)
        forms += [
            f"torch.bmm({flat}){back}",
            f"torch.baddbmm(torch.zeros(1, 1, 1, dtype={query}.dtype), {flat}, beta=0, alpha={alpha}){back}",
            f"torch.baddbmm(torch.ones(1, 1, 1, dtype={query}.dtype), {flat}, beta=0.5, alpha={alpha}){back}",
        ]
    return source.let("scores", source.choose("product", *forms, simple=0.4), "product")


def _layout_step(source, place: str, operands: Operands) -> None:
    """Another layout for a while: a bias of the heads' added in it."""
    s, lengths = "scores", operands.lengths
    back = f"{lengths.queries}, {lengths.keys}"
    if operands.layout == "nls":
        bias = source.parameter("bias", f"torch.randn({HEADS}, 1, 1)")
        forms = [
            f"({s}.view(-1, {HEADS}, {back}) + {bias}).view(-1, {back})",
            f"{s}.view(-1, {HEADS}, {back}).flatten(0, 1)",
            f"{s}.unflatten(0, (-1, {HEADS})).masked_fill({s}[0, 0, 0] > 100, -1e9).flatten(0, 1)",
        ]
    else:
        forms = [
            f"{s}.transpose(-1, -2).transpose(-1, -2)",
            f"{s}.contiguous()",
            f"{s}.reshape({s}.shape)",
            f"{s}.unsqueeze(0).squeeze(0)",
            f"{s}.flatten(0, 1).view({s}.shape)",
            f"{s}.transpose(-1, -2)",
            f"{s}.clone()",
            f"{s}.expand_as({s})",
            f"{s}.flip(-1)",
        ]
    source.change(s, source.choose(f"{place}.layout", *forms), place)


def _softcap(source, place: str) -> str:
    cap = source.choose(f"{place}.cap", 5.0, 30.0, -2.0, 0.5)
    kept = source.number(f"{place}.cap", cap)
    return source.choose(
        f"{place}.softcap",
        f"torch.tanh(scores / {kept}) * {kept}",
        f"{kept} * torch.tanh(scores * {1 / cap})",
        f"(scores / {cap}).tanh() * {cap + 1}",
        f"torch.tanh(scores)",
    )


def _odd_form(source, place: str, operands: Operands) -> str:
    """What looks like attention and mostly is none."""
    s = "scores"
    forms = [
        f"{s} - {s}.amax(-1, keepdim=True)",
        f"{s} - torch.max({s}, dim=-1, keepdim=True)[0].detach()",
        f"torch.relu({s})",
        f"{s}.clamp(-2.0, 2.0)",
        f"{s} - {s}.amax()",
        f"{s} - {s}.mean(-1, keepdim=True)",
        f"{s} + {s}",
        f"{s} * {s}",
        f"torch.nan_to_num({s}, neginf=-1e9)",
        f"{s}.cumsum(-1)",
        f"{s}.masked_fill({s} < {s}.amax(-1, keepdim=True) - 2.0, float('-inf'))",
        f"{s} + torch.eye({operands.lengths.queries}, {operands.lengths.keys})",
        f"{s}.abs().sqrt()",
        f"{s}.clamp(min={source.lowest(s)})",
        f"torch.max({s}, torch.tensor({source.lowest(s)}, dtype={s}.dtype))",
        f"{s} * {source.parameter('scale', f'torch.randn({HEADS}, 1, 1)')}",
        f"{s} * torch.exp({source.parameter('scale', f'torch.zeros(1)')}.clamp(max=4.6))",
        f"{s}.mul({source.number(f'{place}.odd', -0.5)})",
        f"{s} / {s}.size(-1)",
        f"{s} * math.log({operands.lengths.keys} + 1)",
        f"{s} * 2e4",
    ]
    return source.choose(f"{place}.odd", *forms)


def write_steps(source, operands: Operands) -> None:
    for number in range(STEPS):
        place = f"score.{number}"
        kinds = ["none", "mask", "scale", "mask", "mask", "cast", "layout", "softcap", "half mask"]
        kind = source.choose(f"{place}.kind", *kinds, simple=0.45)
        if source.choose(f"{place}.is odd", False, True, simple=source.simple(0.75)):
            kind = "odd"
        if kind == "mask":
            masks.apply(source, place, "scores", operands.lengths, operands.layout)
        elif kind == "scale":
            value = source.choose(f"{place}.value", 0.5, 0.25, 2.0, -0.5, 1.0)
            source.change("scores", scaled(source, place, "scores", value), place)
        elif kind in ("cast", "half mask"):
            dtype = source.choose(f"{place}.to", "torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")
            if kind == "half mask":
                hidden = "torch.ones_like(scores).triu(1) > 0"
                source.write(f"scores = scores.masked_fill({hidden}, {source.lowest('scores')})")
                dtype = "torch.float16"
            source.change("scores", f"scores.to({source.cast_to(dtype)})", place)
        elif kind == "softcap":
            source.change("scores", _softcap(source, place), place)
        elif kind == "layout":
            _layout_step(source, place, operands)
        elif kind == "odd":
            source.change("scores", _odd_form(source, place, operands), place)


def write_softmax(source) -> None:
    dim = source.choose("softmax.dim", "-1", "scores.dim() - 1", "-2", "1", simple=source.simple(0.9))
    module = source.choose("softmax.kept", "functional", "module", simple=0.85)
    inner = source.choose("softmax.scale", "scores", "scores * 0.5", "scores.float()", simple=0.85)
    if inner == "scores.float()":
        source.cast_to("torch.float32")
    forms = [
        f"torch.softmax({inner}, {dim})",
        f"F.softmax({inner}, dim={dim})",
        f"{inner}.softmax({dim})",
        f"F.softmax({inner}, dim={dim}, dtype=torch.float32)",
        f"torch.exp(F.log_softmax({inner}, dim={dim}))",
        f"torch.exp({inner} - torch.logsumexp({inner}, {dim}, keepdim=True))",
        f"torch.exp({inner}) / torch.exp({inner}).sum({dim}, keepdim=True)",
        f"torch.softmax(torch.cat([{inner}, torch.zeros_like(scores[..., :1])], -1), {dim})[..., :-1]",
        f"torch.exp({inner}) / (1.0 + torch.exp({inner}).sum({dim}, keepdim=True))",
        f"F.softmax({inner}, dim={dim}, dtype=torch.float64)",
        f"torch.softmax({inner}, {dim}).nan_to_num(0.0)",
        f"F.softmin(-{inner}, dim={dim})",
    ]
    if module == "module" and dim in ("-1", "-2"):
        form = f"{source.member('softmax', f'nn.Softmax(dim={dim})')}({inner})"
    else:
        form = source.choose(
            "softmax", *forms[: 12 if source.choose("softmax.odd", False, True, simple=source.simple(0.6)) else 4]
        )
    if "dtype=torch.float32" in form:
        source.cast_to("torch.float32")
    source.let("weights", form, "softmax")


def write_weights(source, operands: Operands) -> None:
    """What happens to the weights between the softmax and the second product."""
    w = "weights"
    forms = [
        "none",
        f"{w}.to({operands.value}.dtype)",
        f"{w}.type_as({operands.value})",
        "dropout",
        f"{w}.clone()",
        f"{w} * 2.0",
        f"{w}.masked_fill(torch.isnan({w}), 0.0)",
        f"{w}.detach()",
        f"{w} / {w}.sum(-1, keepdim=True)",
        f"{w}.transpose(-1, -2)",
        f"{w}.contiguous()",
        f"torch.nan_to_num({w})",
        f"{w}.roll(1, -1)",
        f"{w}.masked_fill(scores < -1e8, 0.0)",
        f"{w} ** 2",
        f"{w}.float()",
        f"{w}.to(torch.float64)",
    ]
    for place in ("weight.0", "weight.1"):
        odd = source.choose(f"{place}.odd", False, True, simple=source.simple(0.7))
        form = source.choose(f"{place}.form", *(forms if odd else forms[:5]), simple=0.6)
        if form == "dropout":
            p = source.choose(f"{place}.p", 0.0, 1.0, 0.1)
            form = source.choose(
                f"{place}.dropout",
                f"F.dropout({w}, {p}, self.training)",
                f"{source.member('dropout', f'nn.Dropout({p})')}({w})",
                f"F.dropout({w}, {p}, training=False)",
                f"F.dropout({w}, {p}, training={source.member('drops', 'False')})",
                f"torch.dropout({w}, {p}, self.training)",
            )
        if form != "none":
            source.change(w, form, place)
    mixed = source.precision or source.has_positions and source.dtype != "torch.float32"
    if source.choose("weights cast", bool(mixed), not mixed, simple=0.93):
        source.let(w, f"{w}.to({operands.value}.dtype)")


def write_second_product(source, operands: Operands) -> str:
    """The layout of the result."""
    w, v, lengths = "weights", operands.value, operands.lengths
    _, right, scores = _letters(operands.layout)
    result = scores[:-1] + "d"
    batch = ", ".join(f"{w}.size({dim})" for dim in range(len(operands.layout) - 2))
    right = "bgsd" if operands.layout == "bgrls" else right
    value = f"{v}.squeeze(2)" if operands.layout == "bgrls" else v
    forms = [
        f"{w} @ {v}",
        f"torch.matmul({w}, {v})",
        f'torch.einsum("{scores},{right}->{result}", {w}, {value})',
        f"({v}.transpose(-2, -1) @ {w}.transpose(-2, -1)).transpose(-2, -1)",
    ]
    if operands.layout != "bgrls":
        flat = f"{w}.reshape(-1, {lengths.queries}, {lengths.keys}), {v}.reshape(-1, {lengths.keys}, {v}.size(-1))"
        back = f".view({batch}, {lengths.queries}, {v}.size(-1))" if "n" not in operands.layout else ""
        forms.append(f"torch.bmm({flat}){back}")
    if operands.layout == "bhls":
        forms.append(f'torch.einsum("bhls,bhsd->blhd", {w}, {v}).transpose(1, 2)')
    source.let("result", source.choose("second product", *forms, simple=0.45), "second product")
    return f"b{KEY_HEADS}" if operands.layout == "bgrls" else operands.layout
