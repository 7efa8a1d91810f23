"""Attributes that a model's own code changes are no constants: what a setter, another module or `forward` itself sets is
what the converted model goes by, as the original does."""

import pathlib
import tempfile
import unittest

import torch
from conversion import convert, load_operators
from torch import Tensor, nn


class SetFromOutside(nn.Module):
    def __init__(self):
        super().__init__()
        self.sharp = False

    @torch.jit.export
    def set_sharp(self, flag: bool) -> None:
        self.sharp = flag

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        if self.sharp:
            s = s * 3.0
        return torch.softmax(s, -1) @ v


class SetByForward(SetFromOutside):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        if self.sharp:
            s = s * 3.0
        self.sharp = True
        return torch.softmax(s, -1) @ v


class Switch(nn.Module):
    """Shared by the module that reads it and the one that sets it."""

    def __init__(self):
        super().__init__()
        self.on = False

    def forward(self) -> bool:
        return self.on


class Reader(nn.Module):
    def __init__(self, switch: Switch):
        super().__init__()
        self.switch = switch

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        if self.switch.on:
            s = s * 3.0
        return torch.softmax(s, -1) @ v


class SetInSharedSubmodule(nn.Module):
    def __init__(self):
        super().__init__()
        self.switch = Switch()
        self.reader = Reader(self.switch)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        result = self.reader(q, k, v)
        self.switch.on = True
        return result


class SetByParent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = SetFromOutside()

    @torch.jit.export
    def set_sharp(self, flag: bool) -> None:
        self.inner.sharp = flag

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.inner(q, k, v)


class Integer(nn.Module):
    def __init__(self):
        super().__init__()
        self.times = 1

    @torch.jit.export
    def set_times(self, times: int) -> None:
        self.times = times

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        if self.times == 2:
            s = s * 3.0
        return torch.softmax(s, -1) @ v


class Name(nn.Module):
    def __init__(self):
        super().__init__()
        self.kind = "plain"

    @torch.jit.export
    def set_kind(self, kind: str) -> None:
        self.kind = kind

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        if self.kind == "sharp":
            s = s * 3.0
        return torch.softmax(s, -1) @ v


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = 0.5

    @torch.jit.export
    def set_scale(self, scale: float) -> None:
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * self.scale, -1) @ v


class WrittenBuffer(nn.Module):
    """A causal mask that opens up."""

    def __init__(self):
        super().__init__()
        self.register_buffer("closed", torch.ones(16, 16, dtype=torch.bool).triu(1))

    @torch.jit.export
    def open(self) -> None:
        self.closed[0].zero_()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        return torch.softmax(s.masked_fill(self.closed[: q.size(-2), : k.size(-2)], float("-inf")), -1) @ v


@torch.jit.interface
class Transform(nn.Module):
    def forward(self, s: Tensor) -> Tensor:
        pass


class Sharpen(nn.Module):
    def __init__(self):
        super().__init__()
        self.sharp = False

    def forward(self, s: Tensor) -> Tensor:
        if self.sharp:
            s = s * 3.0
        self.sharp = True
        return s


class ThroughInterface(nn.Module):
    transform: Transform

    def __init__(self):
        super().__init__()
        self.transform = Sharpen()

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = self.transform.forward(torch.matmul(q, k.transpose(-2, -1)) * 0.5)
        return torch.softmax(s, -1) @ v


class NeverSet(nn.Module):
    """Nothing sets these: the branches are taken, and the attention is fused."""

    def __init__(self):
        super().__init__()
        self.sharp, self.times, self.kind = False, 1, "plain"

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = torch.matmul(q, k.transpose(-2, -1)) * 0.5
        if self.sharp:
            s = s.sort(-1)[0]
        if self.times == 2:
            s = s.sort(-1)[0]
        if self.kind == "sharp":
            s = s.sort(-1)[0]
        return torch.softmax(s, -1) @ v


def nothing(model) -> None:
    del model


# A branch on what may change has an attention in each arm, unless forward changes it between softmax and product; a number
# that may change, or code that is not known, leaves the attention as it is.
CHANGED = {
    "a flag that an exported method sets": (SetFromOutside, lambda model: model.set_sharp(True), "fused"),
    "a flag that forward sets": (SetByForward, nothing, "declined"),
    "a flag of a shared submodule, set by the parent": (SetInSharedSubmodule, nothing, "fused"),
    "a flag that another module's method sets": (SetByParent, lambda model: model.set_sharp(True), "fused"),
    "an integer": (Integer, lambda model: model.set_times(2), "fused"),
    "a string": (Name, lambda model: model.set_kind("sharp"), "fused"),
    "a scale": (Scale, lambda model: model.set_scale(2.0), "declined"),
    "a mask that is written into": (WrittenBuffer, lambda model: model.open(), "fused"),
    "a flag behind an interface": (ThroughInterface, nothing, "declined"),
}


class MutableAttributesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operators()
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def converted(self, module: nn.Module):
        source, target = (pathlib.Path(self.folder.name, f"{name}.pt") for name in ("original", "converted"))
        scripted = torch.jit.script(module.eval())
        if isinstance(module, SetInSharedSubmodule):  # scripting makes a module of each place at which one stands
            scripted.reader._c.setattr("switch", scripted.switch._c)
        scripted.save(source)
        done = convert(source, target, "--force")
        self.assertEqual(done.exit_code, 0, done.log)
        return torch.jit.load(source), torch.jit.load(target), done.report

    def test_a_changed_attribute_counts(self):
        torch.manual_seed(3)
        operands = [torch.randn(2, 2, 7, 4) for _ in range(3)]
        for name, (model, change, status) in CHANGED.items():
            with self.subTest(name), torch.no_grad():
                original, converted, report = self.converted(model())
                self.assertEqual([site["status"] for site in report["attention"]], [status])
                before = original(*operands)
                torch.testing.assert_close(converted(*operands), before)
                change(original)
                change(converted)
                after = original(*operands)
                self.assertGreater((after - before).abs().max().item(), 1e-2, "the change makes no difference")
                torch.testing.assert_close(converted(*operands), after)

    def test_what_nothing_changes_is_a_constant(self):
        _, converted, report = self.converted(NeverSet())
        self.assertEqual([site["status"] for site in report["attention"]], ["fused"])
        self.assertNotIn("if ", converted.code)


if __name__ == "__main__":
    unittest.main()
