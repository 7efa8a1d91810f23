"""What follows the second product: how heads are merged, what sees strides, writes, weights and scores used again."""

from operands import Operands
from source import HEADS, WIDTH


def _views(result: str, layout: str) -> list[str]:
    """Layouts of the result of a product, which is contiguous, while a fused one need not be."""
    forms = [
        f"{result}",
        f"{result}.flatten(0, 1)",
        f"{result}.view({result}.size(0), -1)",
        f"{result}.contiguous().view(-1)",
        f"{result}.transpose(1, 2)",
        f"{result}.view(-1, {result}.size(-2), {result}.size(-1))",
        f"{result}.view({result}.shape)",
        f"{result}.as_strided([2], [1])",
        f"{result}.unsqueeze(0)",
        f"{result}.view(-1)",
        f"{result} * {result}.stride(0)",
        f"{result} + (1.0 if {result}.is_contiguous() else 0.0)",
        f"{result}.view({result}.size(0) * {result}.size(1), -1)",
        f"{result}.reshape({result}.size(0), -1)",
        f"{result}.transpose(-2, -1).view({result}.size(0), -1)",
    ]
    if layout == "bhls":
        forms += [
            f"{result}.view(-1, {HEADS}, {result}.size(2), {result}.size(3))",
            f"{result}.view({result}.size(0), {HEADS} // 2, 2, {result}.size(2), {result}.size(3))",
            f"{result}.permute(0, 2, 1, 3).flatten(2)",
            f"{result}.permute(2, 0, 1, 3).reshape({result}.size(2), {result}.size(0), -1)",
        ]
    return forms


def _merge(source, operands: Operands, layout: str) -> None:
    """[B, H, L, D] to [B, L, H * D]."""
    length = operands.lengths.queries
    if layout != "bhls":  # five dimensions
        source.let("result", "result.flatten(1, 2)")
    forms = (
        f"result.transpose(1, 2).reshape(result.size(0), {length}, {WIDTH})",
        f"result.permute(0, 2, 1, 3).contiguous().view(result.size(0), -1, {WIDTH})",
        f"result.transpose(1, 2).contiguous().flatten(2)",
        f"result.transpose(1, 2).flatten(2, 3)",
        f"torch.cat(result.unbind(1), -1)",
        f"result.reshape(result.size(0), {length}, {WIDTH})",  # mixes heads and places
        f"result.permute(0, 2, 3, 1).reshape(result.size(0), {length}, {WIDTH})",
    )
    source.let("result", source.choose("merge", *forms, simple=0.45), "merge")
    if source.maybe("projected", 0.6):
        out = source.member("out", f"nn.Linear({WIDTH}, {WIDTH})")
        source.let("result", f"{out}(result)", "out")
    if source.maybe("residual", 0.2):
        source.let(
            "result", source.choose("residual.kind", f"result + {operands.stream}", f"result.add_({operands.stream})")
        )


def _use_again(source, operands: Operands) -> str:
    """What else is returned, "" for nothing."""
    return source.choose(
        "returned",
        "",
        "weights",
        "scores",
        "weights.sum(1)",
        "weights.detach()",
        "torch.zeros_like(weights)",
        f"{operands.key}",
        "scores.argmax(-1)",
        "weights.shape[-1]",
        "scores * 1.0",
        simple=source.simple(0.8),
    )


def write(source, operands: Operands, layout: str) -> tuple[str, str]:
    """What forward returns, as an expression and its type."""
    source.statement(
        source.choose(
            "written",
            "pass",
            "result.mul_(2.0)",
            "result[..., 0] = 0.0",
            f"result.add_({operands.value}.mean())",
            "result.masked_fill_(torch.isnan(result), 0.0)",
            f"{operands.value}.zero_()",
            f"{operands.query}.zero_()",
            "weights.zero_()",
            simple=0.85,
        ),
        "written",
    )
    if operands.merged and source.maybe("merged", 0.75):
        _merge(source, operands, layout)
    else:
        source.let("result", source.choose("view", *_views("result", layout), simple=0.35), "view")
    last = source.choose(
        "last",
        "result",
        "result.to(torch.float32)",
        "result.contiguous()",
        "F.layer_norm(result, result.shape[-1:])",
        "result.sum(-1)",
        "result.double()",
        "torch.sigmoid(result)",
        "result.detach()",
        "result[:, -1]",
        simple=0.7,
    )
    source.let("result", last)
    again = _use_again(source, operands)
    if not again:
        return "result", "Tensor"
    return f"result, {again}", "Tuple[Tensor, int]" if again.endswith("shape[-1]") else "Tuple[Tensor, Tensor]"
