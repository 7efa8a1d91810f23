"""Attention that torch itself has: scaled_dot_product_attention and torch.nn's layers, called in odd ways."""

import operands
from masks import Mask, fitted, make
from source import HEADS, WIDTH


def write_sdpa(source) -> operands.Operands:
    """Operands and scaled_dot_product_attention of them."""
    found = operands.write(source)
    causal = source.choose(
        "sdpa.causal", "", "is_causal=True", "is_causal=mask_is_none", "is_causal=lq > 1", simple=0.5
    )
    options = []
    if source.maybe("sdpa.masked", 0.6) and causal != "is_causal=True":
        mask = make(source, "sdpa", found.lengths, found.layout)
        if mask.kind == "integer":
            mask = Mask(
                source.choose("sdpa.integer", f"({mask.tensor} > 0)", f"{mask.tensor}.to(q.dtype)"),
                mask.dims,
                "visible",
            )
        options.append(f"attn_mask={fitted(source, 'sdpa', mask, found.layout)}")
    if causal == "is_causal=mask_is_none":
        causal = "is_causal=False" if options else "is_causal=True"
    elif options:
        causal = ""
    options += [causal] if causal else []
    scale = source.choose(
        "sdpa.scale", "", "0.3", "1.0", "1 / math.sqrt(q.size(-1))", "-0.5", "q.shape[-1] ** -0.5", simple=0.6
    )
    if scale:
        is_number = scale.lstrip("-").replace(".", "").isdigit()
        kept = source.number("sdpa.scale", float(scale)) if source.scripted and is_number else scale
        options.append(f"scale={scale if kept.startswith('torch') else kept}")
    dropout = source.choose(
        "sdpa.dropout", "", "0.0", "1.0 if self.training else 0.0", "0.5 * float(self.training)", simple=0.75
    )
    if dropout:
        options.append(f"dropout_p={dropout}")
    given = ", ".join([f"{found.query}, {found.key}, {found.value}", *options])
    source.let("result", f"F.scaled_dot_product_attention({given})", "sdpa")
    return found


def _masks_of_torch_nn(source, place: str, self_attention: bool) -> list[str]:
    keys = "l" if self_attention else "s"
    options = []
    kind = source.choose(f"{place}.padding", "", "hidden", "additive", "float32", "normal", simple=0.5)
    if kind:
        made = {
            "hidden": f"values.hidden(b, {keys}, variant=variant)",
            "additive": f"values.additive(b, {keys}, variant=variant)",
            "float32": f"values.additive(b, {keys}, variant=variant).float()",
            "normal": f"values.normal(b, {keys})",
        }[kind]
        options.append(f"key_padding_mask={source.argument('padding', 'Tensor', made)}")
    kind = source.choose(
        f"{place}.mask", "", "hidden", "additive", "normal", "causal", "per head", "in graph", simple=0.4
    )
    if kind == "in graph":
        source.has_positions = True
        source.let("mask", f"torch.ones(x.size(1), {'x' if self_attention else 'y'}.size(1), dtype=torch.bool).triu(1)")
        options.append("attn_mask=mask")
    elif kind:
        made = {
            "hidden": f"values.hidden(l, {keys}, variant=variant)",
            "additive": f"values.additive(l, {keys}, variant=variant)",
            "normal": f"values.normal(l, {keys})",
            "causal": f"torch.full((l, {keys}), float('-inf'), dtype=torch.float64).triu(1)",
            "per head": f"values.hidden(b * {HEADS}, l, {keys}, variant=variant)",
        }[kind]
        options.append(f"attn_mask={source.argument('mask', 'Tensor', made)}")
        if kind == "causal" and source.maybe(f"{place}.says causal", 0.4):
            options.append("is_causal=True")
    return options


def write_multihead_attention(source) -> str:
    """nn.MultiheadAttention; gives what forward returns."""
    kind = source.choose(
        "mha.called",
        "(x, x, x)",
        "(x, y, y)",
        "(x, y, 2 * x)",
        "(x, x, y)",
        "(x, y, x)",
        "(y, x, x)",
        "(x, x + 0, x)",
        "(x, y, z)",
        "(x, x, 2 * x)",
    )
    self_attention = "y" not in kind and "z" not in kind
    length = "s" if kind in ("(x, y, y)", "(x, y, z)") else "l"
    source.argument("x", "Tensor", f"values.normal(b, l, {WIDTH})")
    if "y" in kind:
        source.argument("y", "Tensor", f"values.normal(b, {length}, {WIDTH})")
    if "z" in kind:
        source.argument("z", "Tensor", f"values.normal(b, {length}, {WIDTH})")
    first = source.choose("mha.batch", ", batch_first=True", "", simple=0.6)
    if not first:
        for name in ("x", "y", "z"):
            if name in source.types:
                source.let(name, f"{name}.transpose(0, 1)")
    options = "".join(
        option
        for option in (
            ", bias=False",
            ", add_bias_kv=True",
            ", add_zero_attn=True",
            ", dropout=1.0",
            f", kdim={WIDTH}, vdim={WIDTH}",
        )
        if source.maybe(f"mha.{option[2:7]}", 0.12)
    )
    layer = source.member("attention", f"nn.MultiheadAttention({WIDTH}, {HEADS}{first}{options})")
    masks = _masks_of_torch_nn(source, "mha", self_attention or length == "l")
    if not first:  # the lengths are not in dimension 1, where a mask made in the graph takes them from
        masks = [
            mask for mask in masks if mask != "attn_mask=mask" or "mask" in [name for name, _, _ in source.arguments]
        ]
    weights = source.choose(
        "mha.weights", "need_weights=False", "need_weights=True", "average_attn_weights=False", simple=0.7
    )
    given = ", ".join([kind[1:-1], *masks, weights])
    if weights == "need_weights=False":
        source.let("result", f"{layer}({given})[0]")
        return "result"
    source.write(f"result, weights = {layer}({given})")
    source.types["result"] = "Tensor"
    return source.choose("mha.returned", "result", "result, weights")


def write_encoder(source) -> str:
    """A torch.nn encoder or decoder layer; gives what forward returns."""
    source.argument("x", "Tensor", f"values.normal(b, l, {WIDTH})")
    options = "".join(
        option
        for option in (", norm_first=True", ", bias=False", ', activation="gelu"')
        if source.maybe(f"layer.{option[2:6]}", 0.25)
    )
    made = f"({WIDTH}, {HEADS}, {2 * WIDTH}, dropout=0.1, batch_first=True{options})"
    kind = source.choose("layer.kind", "layer", "encoder", "decoder layer")
    if kind == "decoder layer":
        source.argument("y", "Tensor", f"values.normal(b, s, {WIDTH})")
        layer = source.member("layer", f"nn.TransformerDecoderLayer{made}")
        source.let("result", f"{layer}(x, y)")
        return "result"
    source_mask = _masks_of_torch_nn(source, "layer", True)
    masks = [
        mask.replace("key_padding_mask", "src_key_padding_mask").replace("attn_mask=", "src_mask=")
        for mask in source_mask
    ]
    if kind == "layer":
        layer = source.member("layer", f"nn.TransformerEncoderLayer{made}")
    else:
        layer = source.member("layer", f"nn.TransformerEncoder(nn.TransformerEncoderLayer{made}, 2)")
        masks = [mask.replace("src_mask=", "mask=") for mask in masks]
    source.let("result", f"{layer}({', '.join(['x', *masks])})")
    return "result"
