"""Folding reparameterised weights, from real exports: traced and scripted, through the program."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import warnings

import torch
import torch.nn as nn

import fold_models as models

WIDTH = 8


def export(model, example, how):
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "script":
            return torch.jit.script(model)
        return torch.jit.trace(model, example, check_trace=False)


# Attention beside the folded weights is fused, so the outputs need the operator.
torch.ops.load_library(os.environ["FLASHCONVERT_OPS"])


class FoldTest(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def fold(self, exported, *options):
        """Converts a checkpoint. Returns original and converted as loaded from their files, and the report."""
        folder = pathlib.Path(self.folder.name)
        before, after, report = folder / "before.pt", folder / "after.pt", folder / "report.json"
        torch.jit.save(exported, str(before))
        command = [os.environ["FLASHCONVERT"], str(before), str(after), "--force", "--quiet", "--report", str(report)]
        done = subprocess.run([*command, *options], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return torch.jit.load(str(before)), torch.jit.load(str(after)), json.loads(report.read_text())

    def assert_same_outputs(self, before, after, example, tolerance):
        with torch.no_grad():
            expected, got = before(example), after(example)
        expected, got = [value if isinstance(value, tuple) else (value,) for value in (expected, got)]
        for a, b in zip(expected, got):
            self.assertEqual(a.dtype, b.dtype)
            difference = ((a - b).abs().max() / a.abs().max()).item()
            self.assertLessEqual(difference, tolerance)

    def for_every_form(self, check):
        """Calls check(exported, example, form, dtype) with a pair of layers of every form, in every export."""
        for name, (make, form, scripts) in models.FORMS.items():
            for how in ("trace", "script") if scripts else ("trace",):
                for dtype in (torch.float64, torch.float32):
                    with self.subTest(form=name, how=how, dtype=dtype):
                        torch.manual_seed(1)
                        model = models.Pair(make(WIDTH), make(WIDTH)).to(dtype)
                        example = torch.randn(3, WIDTH, dtype=dtype)
                        check(export(model, example, how), example, form, dtype)

    def test_every_form_folds_computes_the_same_and_leaves_plain_layers(self):
        def check(exported, example, form, dtype):
            before, after, report = self.fold(exported)
            self.assertEqual([entry["path"] for entry in report["folded"]], ["first", "second"])
            for entry in report["folded"]:
                self.assertEqual(entry["status"], "folded")
                self.assertEqual(entry["dtype"], str(dtype).removeprefix("torch."))
                # A copy of the raw weight would be far off: the comparison below can fail.
                self.assertGreater(entry["weight_change"], 0.1)
                if form is not None:
                    self.assertEqual(entry["form"], form)
            self.assert_same_outputs(before, after, example, 1e-12 if dtype == torch.float64 else 2e-6)
            self.assert_plain(before, after, report)
            if dtype != torch.float64:
                return  # the structure is the same in every dtype
            _, twice, second_report = self.fold(after)
            self.assertEqual((second_report["folded"], second_report["renamed"]), ([], []))
            self.assertEqual(after.first.code, twice.first.code)

        self.for_every_form(check)

    def assert_plain(self, before, after, report):
        names = ("weight", "bias") if any("bias" in key for key in before.state_dict()) else ("weight",)
        expected = {f"{layer}.{name}" for layer in ("first", "second") for name in names}
        # A trace reads one vector of a power iteration alone; what no code read before stays where it was.
        unread = {key for key in ("first.v", "second.v") if "self.v" not in before.first.code}
        self.assertEqual(set(after.state_dict()) - unread, expected)
        self.assertRegex(after.first.code, r"return torch\.linear\(\w+, weight(, bias)?\)")
        self.assertTrue(after.first.weight.requires_grad)
        renamed = {rename["to"]: rename["from"] for rename in report["renamed"]}
        self.assertIn("first.weight", renamed)
        gone = set(before.state_dict()) - set(after.state_dict())
        self.assertEqual(gone - {key for keys in renamed.values() for key in keys}, set())

    def test_half_precision_is_rounded_once(self):
        for dtype in (torch.float16, torch.bfloat16):
            with self.subTest(dtype=dtype):
                model = models.RowNormWrapper(nn.Linear(WIDTH, WIDTH)).to(dtype)
                raw, sigma = model.linear.weight.double(), model.sigma.double()
                exact = sigma * raw / (torch.linalg.vector_norm(raw, dim=1, keepdim=True) + model.eps)
                model = nn.Sequential(model)
                exported = export(model, torch.randn(2, WIDTH, dtype=dtype), "trace")
                _, after, _ = self.fold(exported)
                self.assertTrue(torch.equal(getattr(after, "0").weight, exact.to(dtype)))

    def test_convolutions(self):
        for how in ("trace", "script"):
            with self.subTest(how=how):
                model = nn.Sequential(models.StandardisedConv(4, 6, 3), nn.ReLU(), models.StandardisedConv(6, 2, 1))
                example = torch.randn(2, 4, 8, 8)
                before, after, report = self.fold(export(model, example, how))
                self.assertEqual([entry["status"] for entry in report["folded"]], ["folded"] * 2)
                self.assertEqual(report["folded"][0]["form"], "weight-standardisation")
                self.assert_same_outputs(before, after, example, 2e-6)

    def test_power_iteration_says_how_far_it_drifts(self):
        exported = export(models.Pair(models.PowerIterationWrapper(8, 8), models.PowerIterationWrapper(8, 8)),
                          torch.randn(3, 8), "script")
        _, _, report = self.fold(exported)
        for entry in report["folded"]:
            self.assertRegex(entry["reason"], r"second differs by \d.* of its norm")

    def test_several_weights_of_one_module_get_names_of_their_own(self):
        for how in ("trace", "script"):
            with self.subTest(how=how):
                example = torch.randn(3, WIDTH)
                before, after, report = self.fold(export(nn.Sequential(models.Projections(WIDTH)), example, how))
                self.assertEqual([entry["status"] for entry in report["folded"]], ["folded"] * 2)
                self.assertLessEqual({"0.q_weight", "0.k_weight"}, set(after.state_dict()))
                self.assert_same_outputs(before, after, example, 2e-6)

    def test_what_cannot_be_known_beforehand_is_left_and_named(self):
        cases = {
            "depends on the input `": (models.GatedByInput, ("trace", "script")),
            "draws random numbers": (models.NoisyLinear, ("trace", "script")),
            "which other code of the model reads": (models.StateReadElsewhere, ("script",)),
        }
        for reason, (layer, ways) in cases.items():
            for how in ways:
                with self.subTest(reason=reason, how=how):
                    model = nn.Sequential(layer(WIDTH) if layer is not models.NoisyLinear else layer(WIDTH, WIDTH))
                    example = torch.randn(3, WIDTH)
                    before, after, report = self.fold(export(model, example, how))
                    (entry,) = report["folded"]
                    self.assertEqual((entry["path"], entry["status"]), ("0", "declined"))
                    self.assertIn(reason, entry["reason"])
                    self.assertEqual(set(before.state_dict()), set(after.state_dict()))
                    torch.manual_seed(5)
                    expected = before(example)
                    torch.manual_seed(5)
                    self.assertTrue(torch.equal(expected, after(example)))

    def test_a_weight_that_is_returned_too_folds_beside_its_raw_one(self):
        for how in ("trace", "script"):
            with self.subTest(how=how):
                example = torch.randn(3, WIDTH)
                before, after, report = self.fold(export(models.ReturnsWeight(WIDTH), example, how))
                self.assertEqual(report["folded"][0]["status"], "folded")
                self.assertLessEqual({"weight", "gain"}, set(after.state_dict()))
                self.assert_same_outputs(before, after, example, 2e-6)

    def test_tied_raw_weights_stay_where_they_are_read(self):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(10, WIDTH)
                self.head = models.RowNormWrapper(nn.Linear(WIDTH, 10))
                self.head.linear.weight = self.embedding.weight

            def forward(self, ids):
                return self.head(self.embedding(ids))

        for how in ("script",):
            with self.subTest(how=how):
                ids = torch.randint(0, 10, (2, 5))
                before, after, report = self.fold(export(Tied(), ids, how))
                self.assertEqual([entry["path"] for entry in report["folded"]], ["head"])
                self.assertEqual(set(after.state_dict()), {"embedding.weight", "head.weight", "head.bias"})
                self.assertTrue(torch.equal(before.embedding.weight, after.embedding.weight))
                self.assert_same_outputs(before, after, ids, 2e-6)

    def test_a_layer_that_runs_twice_keeps_one_weight(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = models.RowNormWrapper(nn.Linear(WIDTH, WIDTH))

            def forward(self, x):
                return self.layer(torch.relu(self.layer(x)))

        for how in ("trace", "script"):
            with self.subTest(how=how):
                example = torch.randn(3, WIDTH)
                before, after, report = self.fold(export(Twice(), example, how))
                self.assertEqual([entry["status"] for entry in report["folded"]], ["folded"])
                self.assertEqual(set(after.state_dict()), {"layer.weight", "layer.bias"})
                self.assert_same_outputs(before, after, example, 2e-6)

    def test_layers_that_share_raw_tensors_share_the_folded_one(self):
        class Shared(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = models.RowNormWrapper(nn.Linear(WIDTH, WIDTH))
                self.b = self.a

            def forward(self, x):
                return self.b(torch.relu(self.a(x)))

        example = torch.randn(3, WIDTH)
        before, after, report = self.fold(export(Shared(), example, "script"))
        self.assertEqual({entry["status"] for entry in report["folded"]}, {"folded"})
        self.assertEqual(after.a.weight.data_ptr(), after.b.weight.data_ptr())
        self.assert_same_outputs(before, after, example, 2e-6)

    def test_skipped_layers_keep_their_siblings_from_nothing(self):
        for how in ("trace", "script"):
            with self.subTest(how=how):
                make = models.FORMS["row_norm"][0]
                example = torch.randn(3, WIDTH)
                exported = export(models.Pair(make(WIDTH), make(WIDTH)), example, how)
                before, after, report = self.fold(exported, "--skip", "second")
                self.assertEqual([entry["status"] for entry in report["folded"]], ["folded", "declined"])
                self.assertIn("first.weight", after.state_dict())
                self.assertIn("second.linear.weight", after.state_dict())
                self.assert_same_outputs(before, after, example, 2e-6)

    def test_plain_layers_are_not_mentioned(self):
        class Plain(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(WIDTH, WIDTH)
                self.table = nn.Parameter(torch.randn(WIDTH, 4))

            def forward(self, x):
                x = self.linear(x) @ self.linear.weight.t().to(x.dtype)
                return torch.addmm(x.sum(1)[:4], x, self.table.contiguous())

        for how in ("trace", "script"):
            with self.subTest(how=how):
                exported = export(Plain(), torch.randn(4, WIDTH), how)
                before, after, report = self.fold(exported)
                self.assertEqual(report["folded"], [])
                self.assertEqual(before.code, after.code)

    def test_torch_multi_head_attention_with_a_parametrised_output_projection(self):
        class Attention(nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
                models._weight_norm_parametrised(self.attention.out_proj)

            def forward(self, x):
                return self.attention(x, x, x, need_weights=False)[0]

        example = torch.randn(2, 5, WIDTH)
        before, after, report = self.fold(export(Attention(), example, "trace"))
        self.assertEqual([entry["status"] for entry in report["folded"]], ["folded"])
        self.assert_same_outputs(before, after, example, 1e-5)


if __name__ == "__main__":
    unittest.main()
