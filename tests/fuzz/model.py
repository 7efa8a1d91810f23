"""A random model: its whole source text, a Python module that says how to make, call and export it.

The text defines Model (the class that is exported), `inputs(b, l, s, variant)`, and what trial.py asks for: EXPORT
("script" or "trace"), DTYPE, ACTIONS (calls of exported methods), OPTIONS of the program, PRECISION (the least dtype
that it casts to), VARIES and EXTREMES (whether inputs depend on the variant, and whether they come in the extreme one),
CREDIT (how far from float64 the original may be and count as rounded), LENGTHS, USED_AS, GRADIENTS, STRIDES and TRAINS
(what is compared), FAST_PATH (torch.backends.mha at export).
"""

import layers
import operands
import results
import scores
from decisions import Decisions
from source import HEADER, Source

SHORT = ((2, 5, 5), (1, 1, 1), (3, 9, 9), (2, 4, 9), (1, 40, 40), (1, 1, 12))
LONG = (*SHORT, (2, 60, 60), (1, 300, 300), (1, 40, 300))


def _attention(source) -> tuple[str, str]:
    found = operands.write(source)
    scores.write_product(source, found)
    scores.write_steps(source, found)
    scores.write_softmax(source)
    scores.write_weights(source, found)
    layout = scores.write_second_product(source, found)
    return results.write(source, found, layout)


def _body(source) -> tuple[str, str]:
    kind = source.choose("model", "attention", "sdpa", "multihead attention", "encoder", simple=0.75)
    if kind == "attention":
        return _attention(source)
    if kind == "sdpa":
        source.let("weights", "torch.zeros(1)")
        source.let("scores", "torch.zeros(1)")
        found = layers.write_sdpa(source)
        return results.write(source, found, found.layout)
    result = layers.write_multihead_attention(source) if kind == "multihead attention" else layers.write_encoder(source)
    return result, "Tuple[Tensor, Optional[Tensor]]" if "," in result and source.scripted else "Tensor"


def _outer(source, kind: str, result_type: str) -> str:
    """A parent that calls the model, sets what its exported methods set, and may make a causal mask for it."""
    names = [name for name, _, _ in source.arguments]
    handed = source.handed if kind == "hands down" else {}
    source.arguments = [argument for argument in source.arguments if argument[0] not in handed]
    parameters = "".join(f", {name}: {type_name}" for name, type_name, _ in source.arguments)
    core = "torch.jit.script(Core().eval())" if kind == "scripted child" else "Core()"
    lines = ["class Outer(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines += [f"        self.core = {core}", ""]
    for held in source.used():
        if held in source.setters:
            setter = source.setters[held].replace("self.", "self.core.")
            lines += ["    " + line if line else "" for line in setter.split("\n")]
    lines += [f"    def forward(self{parameters}) -> {result_type}:"]
    dim = 1 if "x" in names else -2
    keys = "k" if "k" in names else "y" if "y" in names else names[0]
    for name, made in handed.items():
        lines += [f"        {name} = {made.format(f'{names[0]}.size({dim})', f'{keys}.size({dim})')}"]
    called = f"self.core({', '.join(names)})"
    lines += [
        (
            f"        return {called} + {called}"
            if kind == "twice" and result_type == "Tensor"
            else f"        return {called}"
        )
    ]
    return "\n".join(lines) + "\n"


def write_model(decisions: Decisions) -> str:
    """The source text for these decisions."""
    export = decisions.choose("export", "script", "trace", simple=0.5)
    parent = decisions.choose("parent", "none", "child", "hands down", "twice", "scripted child", simple=0.75)
    if parent == "scripted child" and export == "script":
        parent = "child"
    dtype = decisions.choose("dtype", "torch.float32", "torch.float64", "torch.float16", "torch.bfloat16", simple=0.6)
    source = Source(decisions, export == "script", dtype)
    result, result_type = _body(source)
    text = HEADER + "\n" + source.model_class("Model" if parent == "none" else "Core", result, result_type)
    if parent != "none":
        text += "\n\n" + _outer(source, parent, result_type) + "\n\nModel = Outer\n"
    options = decisions.choose("backend", [], ["--backend", "portable"], simple=0.75)
    text += "\n\n" + source.inputs_function()
    constants = {
        "EXPORT": repr(export),
        "DTYPE": dtype,
        "ACTIONS": repr(source.actions() if export == "script" else []),
        "OPTIONS": repr(options),
        "PRECISION": source.precision or "None",
        "VARIES": repr(any("variant" in made_of for _, _, made_of in source.arguments)),
        "EXTREMES": repr(decisions.maybe("extremes", 0.35)),
        "CREDIT": "0.3" if source.has_16_bits else "0.05",
        "LENGTHS": repr(LONG if source.has_positions else SHORT),
        "USED_AS": repr(
            decisions.choose("used as", "it is", "autocast", "half", "bfloat16", "frozen", "inference", simple=0.75)
        ),
        "GRADIENTS": repr(decisions.maybe("gradients", 0.35)),
        "STRIDES": "True",
        "TRAINS": "True",
        "FAST_PATH": repr(not decisions.maybe("no fast path", 0.5)),
    }
    return text + "\n" + "".join(f"{name} = {value}\n" for name, value in constants.items())
