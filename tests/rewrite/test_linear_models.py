"""Linear layers in models as people save them: traced, scripted, frozen, optimised for inference. On the CPU the operator
runs torch's own code, so a converted model gives the same bits: in eval mode, trained, and in its gradients."""

import pathlib
import tempfile
import unittest

import torch
import torch.nn.functional as F
from conversion import convert, load_operators
from torch import Tensor, nn


class Tied(nn.Module):
    """A head that is the embedding's table."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layer = nn.Embedding(500, 256), nn.Linear(256, 256)
        self.head = nn.Linear(256, 500, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(self.embedding(ids))))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(256, 256)
        self.again = self.first
        self.rest = nn.ModuleList([nn.Linear(256, 256) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.rest:
            x = F.gelu(layer(x))
        return self.again(self.first(x))


class InPlace(nn.Module):
    """Results that are read before and written after, and a dropout."""

    def __init__(self):
        super().__init__()
        self.layer, self.relu, self.dropout = nn.Linear(256, 256), nn.ReLU(inplace=True), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        z = y * 2
        y.add_(1)
        w = self.relu(self.layer(x) + 0)
        w.mul_(2)
        return self.dropout(w) + y + z


class InALoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.activation = nn.Linear(256, 256), nn.GELU(approximate="tanh")

    def forward(self, x: Tensor, times: int = 3) -> Tensor:
        for turn in range(times):
            x = self.layer(x)
            if turn % 2 == 0:
                x = self.activation(x)
        return x


class OfManyDtypes(nn.Module):
    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Linear(256, 256), nn.Linear(256, 256).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.narrow(x).double())


class OfTwoMethods(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(256, 512), nn.Linear(512, 256)
        self.rest = nn.Sequential(nn.Linear(256, 300), nn.SiLU(), nn.Linear(300, 256))

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.encode(x))


class Transposed(nn.Module):
    """Weights as GPT-2 and older traces have them."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(256, 320) / 16), nn.Parameter(torch.randn(320))
        self.back = nn.Parameter(torch.randn(256, 320) / 16)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x.view(-1, 256), self.weight).view(x.size(0), x.size(1), 320)
        return torch.matmul(F.gelu(y), self.back.t()) + x


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.layer = nn.LSTM(256, 256, batch_first=True), nn.Linear(256, 256)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.lstm(x)[0])


# model: layers with a weight of their own in float32, in the scripted form, which makes a module of each name of a shared
# one
MODELS = {Tied: 2, Shared: 5, InPlace: 1, InALoop: 1, OfManyDtypes: 1, OfTwoMethods: 4, Transposed: 2, Recurrent: 1}


def example(model):
    generator = torch.Generator().manual_seed(1)
    if model is Tied:
        return torch.randint(500, (2, 7), generator=generator)
    return torch.randn(2, 5, 256, generator=generator)


@torch.no_grad()
def forms(model):
    """The files in which a model is saved, by name."""
    torch.manual_seed(0)
    module, x = model().eval(), example(model)
    found = {"scripted": torch.jit.script(module), "frozen": torch.jit.freeze(torch.jit.script(module))}
    if model is not InALoop:  # a trace unrolls it
        found["traced"] = torch.jit.trace(module, (x,), check_trace=False)
    if model is not Recurrent:
        found["optimised"] = torch.jit.optimize_for_inference(torch.jit.script(module))
    return found


def gradient(module, x):
    x = x.clone().requires_grad_()
    module(x).sum().backward()
    return x.grad


class LinearModels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operators()

    def each(self, *which):
        """(model, form, original, converted, report) of every file."""
        for model in MODELS:
            for form, module in forms(model).items():
                if which and form not in which:
                    continue
                with self.subTest(model.__name__, form=form), tempfile.TemporaryDirectory() as folder:
                    source, target = pathlib.Path(folder, "source.pt"), pathlib.Path(folder, "target.pt")
                    module.save(str(source))
                    done = convert(source, target)
                    self.assertEqual(done.exit_code, 0, done.log)
                    yield model, form, torch.jit.load(str(source)), torch.jit.load(str(target)), done.report

    def test_the_same_bits_whatever_the_form(self):
        for model, form, original, converted, report in self.each():
            self.assertIn("flashconvert::linear", report["operators"]["needed"])
            if form == "scripted":
                self.assertEqual(len(report["linear"]), MODELS[model])
            x = example(model)
            with torch.no_grad():
                for _ in range(3):  # from the second call on, the profiled graph runs
                    self.assertTrue(torch.equal(original(x), converted(x)))

    def test_the_same_bits_in_training_mode(self):
        for model, _, original, converted, _ in self.each("traced", "scripted"):
            results = []
            for module in (original.train(), converted.train()):
                torch.manual_seed(3)
                results.append(module(example(model)))
            self.assertTrue(torch.equal(*results))

    def test_the_same_gradients(self):
        for model, _, original, converted, _ in self.each("traced", "scripted"):
            if model in (Tied, InPlace):  # of no floats; of a result that a ReLU keeps and the next line writes to
                continue
            x = example(model)
            self.assertTrue(torch.equal(gradient(original, x), gradient(converted, x)))


if __name__ == "__main__":
    unittest.main()
