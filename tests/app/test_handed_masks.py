"""Decoders whose outermost module builds one causal mask and hands it to every layer."""

import unittest

import torch
from conversion import run_in_cpp

from program import OPERATORS, ProgramTest

SIZES = ((2, 5), (3, 9), (1, 1))


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(16, 48)
        self.out = torch.nn.Linear(16, 16)

    def forward(self, x, mask):
        q, k, v = (t.view(x.shape[0], x.shape[1], 2, 8).transpose(1, 2) for t in self.qkv(x).split(16, 2))
        scores = q @ k.transpose(-2, -1) * 0.4 + mask[:, :, :, : k.shape[-2]]
        return self.out((torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(x.shape))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(16)
        self.attention = Attention()

    def forward(self, x, mask):
        return x + self.attention(self.norm(x), mask)


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Layer(), Layer()])

    def forward(self, x):
        batch, length = x.shape[:2]
        mask = torch.full((length, length + 1), torch.finfo(x.dtype).min).triu(1)
        mask = mask[None, None].expand(batch, 1, -1, -1)
        for layer in self.layers:
            x = layer(x, mask)
        return x


def attention_of(model):
    return getattr(model.layers, "0").attention


def states(batch, length):
    return torch.randn(batch, length, 16, generator=torch.Generator().manual_seed(batch + length))


class HandedMasks(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        torch.ops.load_library(OPERATORS)

    def setUp(self):
        super().setUp()
        torch.manual_seed(0)
        self.source = self.folder / "in.pt"
        torch.jit.trace(Decoder().eval(), states(2, 5)).save(str(self.source))
        self.original = torch.jit.load(str(self.source))

    def converted(self, *options):
        report = self.report(self.source, self.output, "--verify", "--device", "cpu", *options)
        return torch.jit.load(str(self.output)), report

    def assert_same_at_all_sizes(self, model):
        for size in SIZES:
            with self.subTest(size=size):
                x = states(*size)
                found = model(x)
                torch.testing.assert_close(found, self.original(x))
                self.assertIsNone(run_in_cpp(self.output, (x,), found))

    def test_they_are_the_causal_flag_at_every_size(self):
        model, report = self.converted()
        sites = [(site["path"], site["method"], site["status"], site["causal"], site["bias"]) for site in report["attention"]]
        paths = ["layers.0.attention", "layers.1.attention"]
        self.assertEqual(sites, [(path, "forward_causal", "fused", True, "none") for path in paths])
        self.assertEqual([site["depth"] for site in report["attention"]], ["module", "module"])
        self.assertIn("forward_causal", model.code)
        self.assert_same_at_all_sizes(model)

    def test_a_layer_that_is_called_from_outside_takes_any_mask(self):
        attention = attention_of(self.converted()[0])
        x = states(2, 5)
        for mask in (torch.randn(2, 1, 5, 5), torch.zeros(1, 1, 1, 1)):
            torch.testing.assert_close(attention(x, mask), attention_of(self.original)(x, mask))

    def test_what_is_added_is_not_added_twice(self):
        self.converted()
        again = self.folder / "again.pt"
        report = self.report(self.output, again, "--strict")
        self.assertEqual(report["attention"], [])
        self.assertEqual(again.read_bytes(), self.output.read_bytes())

    def test_a_layer_that_is_left_alone_keeps_its_one_method(self):
        model, report = self.converted("--skip", "layers.0.*")
        self.assertEqual([site["causal"] for site in report["attention"]], [False, True])
        self.assertFalse(hasattr(attention_of(model), "forward_causal"))
        self.assert_same_at_all_sizes(model)

    def test_the_portable_backend(self):
        model, report = self.converted("--backend", "portable")
        self.assertEqual([site["causal"] for site in report["attention"]], [True, True])
        self.assertEqual(report["operators"]["needed"], [])
        self.assert_same_at_all_sizes(model)


if __name__ == "__main__":
    unittest.main()
