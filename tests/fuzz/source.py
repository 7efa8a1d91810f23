"""The source text of a random model while the grammar writes it, line by line.

What the grammar says is an expression over the tensors so far; where that expression stands (inline, in a free
function, a method, a submodule), what a number is kept in and what a line depends on are decided here, for every rule
alike.
"""

import re

HEADER = """\
import math
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import values

"""

HEADS, KEY_HEADS, FEATURES = 4, 2, 4
WIDTH = HEADS * FEATURES


class Source:
    def __init__(self, decisions, scripted: bool, dtype: str):
        self.decisions = decisions
        self.choose, self.maybe = decisions.choose, decisions.maybe
        self.scripted = scripted
        self.dtype = dtype
        self._is_wild = decisions.maybe("wild", 0.3)  # more of what cannot be fused
        self.types: dict[str, str] = {}  # of each local of forward
        self.arguments: list[tuple[str, str, str]] = []  # name, type, what `inputs` makes it of
        self.lines: list[str] = []
        self.members: list[str] = []
        self.held: dict[str, str] = {}  # attributes that expressions may use, and the lines that make them
        self.setters: dict[str, str] = {}  # exported methods, by the attribute that they change
        self.methods: list[str] = []
        self.functions: list[str] = []
        self.calls: dict[str, str] = {}  # of those methods, for after the first runs
        self.at_end: dict[str, str] = {}  # what forward does to an attribute before it returns
        self.handed: dict[str, str] = {}  # arguments that a parent may make itself, from the two lengths
        self.precision = ""  # the least dtype that something is cast to
        self.has_positions = False
        self._indent = 2
        self._count = 0

    def simple(self, probability: float) -> float:
        """The probability that nothing happens which cannot be fused."""
        return probability if self._is_wild else 1 - 0.1 * (1 - probability)

    # Names and lines.

    def fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def write(self, line: str) -> None:
        self.lines.append("    " * self._indent + line)

    def argument(self, name: str, kind: str, made_of: str) -> str:
        self.arguments.append((name, kind, made_of))
        self.types[name] = kind
        return name

    def member(self, stem: str, value: str, how: str = "self.{} = {}") -> str:
        name = self.fresh(stem)
        self.held[f"self.{name}"] = how.format(name, value)
        return f"self.{name}"

    def buffer(self, stem: str, value: str) -> str:
        return self.member(stem, value, 'self.register_buffer("{}", {})')

    def parameter(self, stem: str, value: str) -> str:
        return self.member(stem, f"nn.Parameter({value})")

    def let(self, name: str, expression: str, place: str = "", kind: str = "Tensor") -> str:
        """name = expression. With a `place`, the expression may stand in a function, a method or a module."""
        where = (
            self.choose(f"{place}.stands", "inline", "function", "method", "module", simple=0.88) if place else "inline"
        )
        if where != "inline" and expression != name:
            expression = self._elsewhere(expression, where, kind)
        if expression != name:
            self.write(f"{name} = {expression}")
        self.types[name] = kind
        return name

    def _elsewhere(self, expression: str, where: str, kind: str) -> str:
        used = [name for name in self.types if re.search(rf"(?<![\w.\"']){name}\b(?!=[^=])", expression)]
        parameters = ", ".join(f"{name}: {self.types[name]}" for name in used)
        given = ", ".join(used)
        if "self." in expression:
            where = "method"
        name = self.fresh("part")
        if where == "function":
            self.functions.append(f"def {name}({parameters}) -> {kind}:\n    return {expression}\n")
            return f"{name}({given})"
        if where == "method":
            self.methods.append(f"def {name}(self, {parameters}) -> {kind}:\n    return {expression}\n")
            return f"self.{name}({given})"
        self.functions.append(
            f"class {name.title()}(nn.Module):\n"
            f"    def forward(self, {parameters}) -> {kind}:\n        return {expression}\n"
        )
        self.members.append(f"self.{name} = {name.title()}()")
        return f"self.{name}({given})"

    # Numbers and conditions: what they are kept in, and who changes it.

    def number(self, place: str, value: float) -> str:
        """An expression for a number: a literal, or something that is one when the model is exported."""
        kinds = ["literal", "tensor", "buffer", "parameter", "of sizes"]
        if self.scripted:
            kinds += [
                "attribute",
                "set by a method",
                "set by forward",
                "in a list",
                "in a list that grows",
                "written buffer",
            ]
        kind = self.choose(f"{place}.kept", *kinds, simple=0.7)
        if kind == "literal":
            return repr(value)
        if kind == "tensor":
            return f"torch.tensor({float(value)!r})"
        if kind == "buffer":
            return self.buffer("number", f"torch.tensor({float(value)!r})")
        if kind == "parameter":
            return self.parameter("number", f"torch.tensor({float(value)!r})")
        if kind == "of sizes":
            local = next(iter(self.types))
            return f"({value!r} * {local}.size(0) / {local}.size(0))"
        return self._number_in_state(kind, value)

    def _number_in_state(self, kind: str, value: float) -> str:
        other = value * 1.7 if isinstance(value, float) else value + 2
        type_name = type(value).__name__
        if kind == "written buffer":
            held = self.buffer("number", f"torch.tensor({float(value)!r})")
            self.setter(held, f"{held}.copy_(value)", "Tensor", f"torch.tensor({float(other)!r})")
            return held
        if kind.startswith("in a list"):
            held = self.member("numbers", f"[{value!r}]")
            if kind == "in a list that grows":
                self.setter(held, f"{held}.append(value)", type_name, repr(other))
                return f"{held}[-1]"
            self.setter(held, f"{held}[0] = value", type_name, repr(other))
            return f"{held}[0]"
        held = self.member("number", repr(value))
        if kind == "set by a method":
            self.setter(held, f"{held} = value", type_name, repr(other))
        elif kind == "set by forward":
            self.at_end[held] = f"{held} = {other!r}"
        return held

    def setter(self, held: str, statement: str, type_name: str, argument: str) -> None:
        name = f"set_{held.removeprefix('self.')}"
        self.setters[held] = f"@torch.jit.export\ndef {name}(self, value: {type_name}) -> None:\n    {statement}\n"
        self.calls[held] = f"{name}({argument})"

    def condition(self, place: str) -> str:
        """A condition that holds at first, "" for none."""
        kinds = ["", "sizes", "training", "rank"]
        if self.scripted:
            kinds += ["flag", "set by a method", "set by forward", "text", "integer", "optional", "empty list"]
        kind = self.choose(f"{place}.if", *kinds, simple=0.85)
        local = next(iter(self.types))
        if kind in ("", "sizes", "training", "rank"):
            tests = {"sizes": f"{local}.size(-1) > 0", "training": "not self.training", "rank": f"{local}.dim() > 1"}
            return tests.get(kind, "")
        if kind == "optional":
            name = self.fresh("maybe")
            self.argument(name, "Optional[Tensor]", "values.normal(1) if variant != values.ALL_VISIBLE else None")
            return f"{name} is not None"
        if kind == "text":
            held = self.member("kind", '"spatial"')
            self.setter(held, f"{held} = value", "str", '"temporal"')
            return f'{held} == "spatial"'
        if kind == "integer":
            held = self.member("count", "0")
            self.at_end[held] = f"{held} += 1"
            return f"{held} < 2"
        if kind == "empty list":
            held = self.member("gates", "[1.0]")
            self.setter(held, f"{held}.clear()", "float", "0.0")
            return f"len({held}) > 0"
        held = self.member("flag", "True")
        if kind == "set by a method":
            self.setter(held, f"{held} = value", "bool", "False")
        if kind == "set by forward":
            self.at_end[held] = f"{held} = not {held}"
        return held

    def change(self, name: str, expression: str, place: str) -> None:
        """name = expression, perhaps under a condition, perhaps in a loop of one turn."""
        condition = self.condition(place)
        if condition:
            self.write(f"if {condition}:")
            self._indent += 1
        loop = self.maybe(f"{place}.loop", 0.04)
        if loop:
            self.write("for turn in range(1):")
            self._indent += 1
        self.let(name, expression, place)
        self._indent -= bool(condition) + loop

    def statement(self, line: str, place: str) -> None:
        if line == "pass":
            return
        condition = self.condition(place)
        self.write(f"if {condition}:" if condition else line)
        if condition:
            self.write("    " + line)

    def lowest(self, tensor: str) -> str:
        """The lowest number of a tensor's dtype. TorchScript has no torch.finfo: there, that of the model's dtype."""
        if not self.scripted:
            return f"torch.finfo({tensor}.dtype).min"
        lowest = {"torch.float16": "-65504.0", "torch.bfloat16": "-3.3895313892515355e+38"}
        return lowest.get(self.dtype, "-3.4028234663852886e+38")

    @property
    def has_16_bits(self) -> bool:
        return self.dtype in ("torch.float16", "torch.bfloat16")

    def cast_to(self, dtype: str) -> str:
        """Notes that the model computes in this dtype inside, and returns it."""
        order = ["", "torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"]
        self.precision = max(self.precision, dtype, key=order.index)
        return dtype

    # The whole text.

    def used(self) -> list[str]:
        """The attributes that the text uses: an option that was written and then not chosen leaves nothing behind."""
        text = "\n".join([*self.lines, *self.methods])
        return [held for held in self.held if re.search(rf"{re.escape(held)}\b", text)]

    def actions(self) -> list[str]:
        return [self.calls[held] for held in self.used() if held in self.calls]

    def model_class(self, name: str, result: str, result_type: str) -> str:
        used = self.used()
        parameters = "".join(f", {argument}: {kind}" for argument, kind, _ in self.arguments)
        members = ["super().__init__()", *self.members, *(self.held[held] for held in used)]
        ends = [self.at_end[held] for held in used if held in self.at_end]
        body = [*self.lines, *("        " + line for line in ends), f"        return {result}"]
        methods = [*self.methods, *(self.setters[held] for held in used if held in self.setters)]
        indented = ["    " + line if line else "" for method in methods for line in method.split("\n")]
        text = ["\n".join(self.functions), f"class {name}(nn.Module):", "    def __init__(self):"]
        text += ["        " + line for line in members]
        text += ["", *indented, f"    def forward(self{parameters}) -> {result_type}:", *body]
        return "\n".join(text) + "\n"

    def inputs_function(self) -> str:
        made = "".join(f"        {made_of},\n" for _, _, made_of in self.arguments)
        return f"def inputs(b: int, l: int, s: int, variant: int):\n    return (\n{made}    )\n"
