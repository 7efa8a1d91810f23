"""Scripted torch.nn.MultiheadAttention: where its weights are dropped, returned, or wanted by one caller of several."""

import itertools
import pathlib
import tempfile
import unittest
import warnings
from typing import Optional

import torch
from conversion import convert, load_operators
from torch import Tensor, nn

WIDTH, HEADS = 16, 2


class Caller(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, **{"batch_first": True, **options})


class DropsByIndex(Caller):
    def forward(self, x: Tensor):
        return self.attention(x, x, x)[0]


class DropsByUnpacking(Caller):
    def forward(self, x: Tensor):
        attended, _ = self.attention(x, x, x)
        return attended * 2


class ReturnsNoWeights(Caller):
    """The layer returns None for weights that are not wanted, and the caller hands it on."""

    def forward(self, x: Tensor):
        return self.attention(x, x, x, need_weights=False)


class ReturnsWeights(Caller):
    def forward(self, x: Tensor):
        return self.attention(x, x, x)


class UsesWeights(Caller):
    def forward(self, x: Tensor):
        attended, weights = self.attention(x, x, x)
        assert weights is not None
        return attended + weights.sum()


class TwoCallers(Caller):
    """One layer, two methods: one drops the weights, the other returns them."""

    def forward(self, x: Tensor):
        return self.attention(x, x, x)[0]

    @torch.jit.export
    def inspect(self, x: Tensor):
        return self.attention(x, x, x)[1]


class WantedAtRunTime(Caller):
    def forward(self, x: Tensor, wanted: bool):
        return self.attention(x, x, x, need_weights=wanted)


class DroppedAfterAll(Caller):
    """need_weights is passed at run time, and the weights are dropped whatever it says."""

    def forward(self, x: Tensor, padding: Optional[Tensor], wanted: bool):
        return self.attention(x, x, x, key_padding_mask=padding, need_weights=wanted)[0]


class CalledTwice(Caller):
    def forward(self, x: Tensor):
        x = x + self.attention(x, x, x)[0]
        return x + self.attention(x, x, x)[0]


class Masked(Caller):
    def forward(self, x: Tensor, mask: Optional[Tensor] = None, padding: Optional[Tensor] = None):
        return self.attention(x, x, x, attn_mask=mask, key_padding_mask=padding, need_weights=False)[0]


class MaskedCross(Caller):
    def forward(self, x: Tensor, memory: Tensor, mask: Optional[Tensor] = None, padding: Optional[Tensor] = None):
        return self.attention(x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False)[0]


class Instances(nn.Module):
    """Layers of one TorchScript type that hold different attributes."""

    def __init__(self):
        super().__init__()
        self.callers = nn.ModuleList([DropsByIndex(), DropsByIndex(), DropsByIndex(add_zero_attn=True)])

    def forward(self, x: Tensor):
        for caller in self.callers:
            x = caller(x)
        return x


class MissingMask(Caller):
    def forward(self, x: Tensor):
        return self.attention(x, x, x, need_weights=False, is_causal=True)[0]


class AttentionLayerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operators()
        warnings.filterwarnings("ignore", message="Support for mismatched")  # masks of two kinds

    def setUp(self):
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)  # what float32's rounding comes to differs between processors
        self.addCleanup(torch.set_default_dtype, torch.float32)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def convert(self, module: nn.Module, *options: str):
        """The original and the converted module, and the entries of the report."""
        for parameter in module.parameters():  # torch.nn starts biases at zero
            parameter.data.normal_()
        source, target = self.folder / "original.pt", self.folder / "converted.pt"
        torch.jit.script(module.eval()).save(source)
        done = convert(source, target, "--force", *options)
        self.assertEqual(done.exit_code, 0, done.log)
        return torch.jit.load(source), torch.jit.load(target), done.report["attention"]

    def assert_fused(self, entries: list[dict], count: int = 1):
        self.assertEqual([(site["status"], site["reason"]) for site in entries], [("fused", None)] * count)

    def assert_same(self, original, converted, *arguments, gradients: bool = False):
        with torch.set_grad_enabled(gradients):
            expected, actual = original(*arguments), converted(*arguments)
        torch.testing.assert_close(actual, expected, equal_nan=True, rtol=1e-9, atol=1e-10)

    def test_dropped_weights_are_fused(self):
        for make in (DropsByIndex, DropsByUnpacking, CalledTwice):
            with self.subTest(make.__name__):
                original, converted, entries = self.convert(make())
                self.assert_fused(entries, 2 if make is CalledTwice else 1)
                self.assertEqual({site["path"] for site in entries}, {"attention"})
                self.assertIn("flashconvert.attention", converted.code)
                for shape in ((2, 5, WIDTH), (1, 1, WIDTH), (7, WIDTH)):
                    self.assert_same(original, converted, torch.randn(shape))

    def test_weights_that_are_none_anyway(self):
        original, converted, entries = self.convert(ReturnsNoWeights())
        self.assert_fused(entries)
        # Without gradients the original takes its fast path, whose undefined tensor Python cannot be given.
        self.assert_same(original, converted, torch.randn(2, 5, WIDTH), gradients=True)
        with torch.no_grad():
            self.assertIsNone(converted(torch.randn(2, 5, WIDTH))[1])

    def test_wanted_weights_are_left_alone(self):
        cases = (
            (ReturnsWeights, "attention weights are returned"),
            (UsesWeights, "attention weights are"),
            (MissingMask, "mask that is missing"),
        )
        for make, reason in cases:
            with self.subTest(make.__name__):
                original, converted, entries = self.convert(make())
                self.assertEqual([site["status"] for site in entries], ["declined"])
                self.assertIn(reason, entries[0]["reason"])
                self.assertEqual(original.code, converted.code)

    def test_a_layer_of_its_own_is_left_alone(self):
        original, converted, entries = self.convert(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True))
        self.assertEqual([(site["path"], site["status"]) for site in entries], [("", "declined")])
        self.assertIn("attention weights are returned", entries[0]["reason"])
        x = torch.randn(2, 3, WIDTH)
        self.assert_same(original, converted, x, x, x)

    def test_weights_that_one_caller_uses(self):
        original, converted, entries = self.convert(TwoCallers())
        found = {site["method"]: site for site in entries}
        self.assertEqual({name: site["status"] for name, site in found.items()},
                         {"forward": "fused", "inspect": "declined"})
        self.assertIn("weights are returned", found["inspect"]["reason"])
        x = torch.randn(2, 4, WIDTH)
        self.assert_same(original, converted, x)
        self.assert_same(original.inspect, converted.inspect, x)

    def test_need_weights_passed_at_run_time(self):
        original, converted, entries = self.convert(WantedAtRunTime())
        self.assertEqual([site["status"] for site in entries], ["declined"])
        self.assertIn("weights are returned", entries[0]["reason"])
        self.assertEqual(original.code, converted.code)

        original, converted, entries = self.convert(DroppedAfterAll())
        self.assert_fused(entries)
        x = torch.randn(2, 4, WIDTH)
        hidden = torch.tensor([[True] * 4, [False, True, False, False]])
        for wanted in (False, True):
            for padding in (None, hidden, torch.zeros(2, 4).masked_fill(hidden, float("-inf"))):
                self.assert_same(original, converted, x, padding, wanted)

    def test_the_layer_itself_still_gives_its_weights(self):
        original, converted, _ = self.convert(DropsByIndex())
        x = torch.randn(2, 4, WIDTH)
        self.assert_same(original.attention, converted.attention, x, x, x)

    def test_masks_of_every_kind_and_fully_masked_rows(self):
        hidden = torch.rand(5, 5) < 0.4
        hidden[0] = True
        single = (None, hidden, torch.randn(5, 5), hidden.expand(2 * HEADS, 5, 5))
        padding = torch.tensor([[True] * 5, [False, False, True, True, False]])
        for options in ({}, {"add_bias_kv": True, "add_zero_attn": True}, {"batch_first": False}):
            original, converted, entries = self.convert(Masked(**options))
            self.assert_fused(entries)
            cross, converted_cross, entries = self.convert(MaskedCross(**options))
            self.assert_fused(entries)
            x = torch.randn(2, 5, WIDTH) if options.get("batch_first", True) else torch.randn(5, 2, WIDTH)
            for mask, keys in itertools.product(single, (None, padding, torch.randn(2, 5))):
                for gradients in (False, True):
                    with self.subTest(options=options, mask=mask, padding=keys, gradients=gradients):
                        self.assert_same(original, converted, x, mask, keys, gradients=gradients)
                        self.assert_same(cross, converted_cross, x, x + 1, mask, keys, gradients=gradients)

    def test_instances_of_one_type(self):
        original, converted, entries = self.convert(Instances())
        self.assert_fused(entries, 3)
        self.assert_same(original, converted, torch.randn(2, 3, WIDTH))

    def test_a_layer_left_out(self):
        original, converted, entries = self.convert(DropsByIndex(), "--skip", "attention")
        self.assertEqual([site["status"] for site in entries], ["declined"])
        self.assertEqual(original.code, converted.code)

    def test_a_second_conversion_changes_nothing(self):
        _, converted, _ = self.convert(Masked())
        again = self.folder / "again.pt"
        done = convert(self.folder / "converted.pt", again)
        self.assertEqual(done.exit_code, 0, done.log)
        self.assertEqual([site for site in done.report["attention"] if site["status"] == "fused"], [])
        self.assertEqual(converted.code, torch.jit.load(again).code)


if __name__ == "__main__":
    unittest.main()
