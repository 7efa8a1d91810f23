"""In training mode a converted model is what the original is: dropout drops, branches on `training` are taken."""

import pathlib
import tempfile
import unittest

import torch
import torch.nn.functional as F
from conversion import convert, load_operators
from torch import Tensor, nn


class WithFunction(nn.Module):
    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p
        self.q, self.k, self.v, self.out = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        k = self.k(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        v = self.v(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        w = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.5, -1)
        y = torch.matmul(F.dropout(w, self.p, self.training), v)
        return self.out(y.transpose(1, 2).reshape(x.size(0), x.size(1), 16))


class WithModule(WithFunction):
    def __init__(self, p: float = 0.5):
        super().__init__()
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        k = self.k(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        v = self.v(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        w = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.5, -1)
        y = torch.matmul(self.dropout(w), v)
        return self.out(y.transpose(1, 2).reshape(x.size(0), x.size(1), 16))


class WithBranch(WithFunction):
    """Another function in training, beside the attention and not of it."""

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        k = self.k(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        v = self.v(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        w = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.5, -1)
        y = torch.matmul(w, v)
        y = self.out(y.transpose(1, 2).reshape(x.size(0), x.size(1), 16))
        if self.training:
            y = y * 3.0
        return y


class WithLayer(nn.Module):
    def __init__(self, p: float = 0.5):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, dropout=p, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class WithEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WithBoth(WithModule):
    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        k = self.k(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        v = self.v(x).view(x.size(0), x.size(1), 4, 4).transpose(1, 2)
        w = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.5, -1)
        y = torch.matmul(self.dropout(w), v)
        return F.dropout(self.out(y.transpose(1, 2).reshape(x.size(0), x.size(1), 16)), 0.5, self.training)


class TrainingModeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operators()
        cls.folder = tempfile.TemporaryDirectory()
        cls.x = torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(3))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def converted(self, module: nn.Module):
        source, target = (pathlib.Path(self.folder.name, f"{name}.pt") for name in ("original", "converted"))
        torch.jit.script(module.eval()).save(source)
        done = convert(source, target, "--force")
        self.assertEqual(done.exit_code, 0, done.log)
        self.assertEqual([site["status"] for site in done.report["attention"] if site["status"] != "fused"], [])
        self.assertNotEqual(done.report["attention"], [])
        again = convert(target, source.with_name("again.pt"), "--force")
        self.assertEqual((again.exit_code, again.report["attention"]), (0, []), again.log)
        return torch.jit.load(source), torch.jit.load(target), done.report

    def run_seeded(self, module, seed: int) -> Tensor:
        torch.manual_seed(seed)
        with torch.no_grad():
            return module(self.x)

    def test_training_is_what_it_was(self):
        for model in (WithFunction, WithModule, WithBranch, WithLayer, WithEncoder, WithBoth):
            with self.subTest(model.__name__):
                original, converted, _ = self.converted(model())
                in_eval = self.run_seeded(original, 3)
                torch.testing.assert_close(self.run_seeded(converted, 3), in_eval)
                original.train()
                converted.train()
                in_training = self.run_seeded(original, 3)
                self.assertGreater((in_training - in_eval).abs().max().item(), 1e-2, "the mode makes no difference")
                torch.testing.assert_close(self.run_seeded(converted, 3), in_training)
                converted.eval()
                torch.testing.assert_close(self.run_seeded(converted, 3), in_eval)

    def test_a_submodule_may_be_in_training_alone(self):
        original, converted, _ = self.converted(WithBoth())
        for module in (original, converted):
            module.dropout.train()
        torch.testing.assert_close(self.run_seeded(converted, 5), self.run_seeded(original, 5))
        self.assertGreater((self.run_seeded(converted, 5) - self.run_seeded(converted, 6)).abs().max().item(), 1e-2)

    def test_dropout_of_nothing_leaves_one_path(self):
        for model in (WithFunction(0.0), WithModule(0.0)):
            with self.subTest(type(model).__name__):
                _, converted, report = self.converted(model)
                self.assertEqual([site["depth"] for site in report["attention"]], ["module"])
                self.assertNotIn("training", converted.code)

    def test_a_trace_has_no_training_mode(self):
        source, target = (pathlib.Path(self.folder.name, f"{name}.pt") for name in ("traced", "converted"))
        torch.jit.trace(WithFunction().eval(), self.x).save(source)
        done = convert(source, target, "--force")
        self.assertEqual([site["depth"] for site in done.report["attention"]], ["module"])
        self.assertNotIn("training", torch.jit.load(target).code)


if __name__ == "__main__":
    unittest.main()
