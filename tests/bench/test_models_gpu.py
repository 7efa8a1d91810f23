"""The benchmark of whole models, as far as a machine without a GPU can run it: options, checkpoints, tables."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import models_gpu
import torch
from bench_models import MODELS, Encoder, in_dtype
from emptied_archive import load_filled, save_emptied
from models_table import ModelTable


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = torch.nn.Linear(64, 48)
        self.norm = torch.nn.LayerNorm(48)
        self.register_buffer("places", torch.arange(48).float())

    def forward(self, x):
        return self.norm(self.wide(x)) + self.places


class Checkpoints(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(3)
        self.original = Small().eval()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, "small.pt.xz")
        save_emptied(torch.jit.trace(self.original, torch.randn(2, 64)), self.path)

    def test_weights_are_not_in_the_file(self):
        whole = io.BytesIO()
        torch.jit.save(torch.jit.script(Small()), whole)
        self.assertLess(self.path.stat().st_size, whole.getbuffer().nbytes / 2)

    def test_filled_weights_have_unit_gain_and_the_rest_is_kept(self):
        filled = load_filled(self.path, seed=1)
        self.assertAlmostEqual(filled.wide.weight.std().item(), 1 / 8, delta=0.01)
        for name in ("wide.bias", "norm.weight", "norm.bias", "places"):
            self.assertTrue(torch.equal(filled.state_dict()[name], self.original.state_dict()[name]), name)

    def test_the_same_seed_gives_the_same_weights(self):
        first, same, other = (load_filled(self.path, seed).wide.weight for seed in (1, 1, 2))
        self.assertTrue(torch.equal(first, same))
        self.assertFalse(torch.equal(first, other))

    def test_forms_of_the_encoder_are_different_operators(self):
        for fast_path, operator in ((True, "_transformer_encoder_layer_fwd"), (False, "scaled_dot_product_attention")):
            with torch.no_grad():
                traced = torch.jit.trace(Encoder(fast_path).eval(), torch.randn(1, 3, 512), check_trace=False)
            self.assertIn(operator, str(traced.inlined_graph))


class Options(unittest.TestCase):
    def test_what_is_chosen(self):
        options = models_gpu.parse(["run", "folder", "build", "--model", "swin", "--dtype", "fp16"])
        self.assertEqual([(model.name, form, dtype) for model, form, dtype in models_gpu.chosen(options)],
                         [("swin", "softmax", "fp16"), ("swin", "sdpa", "fp16")])
        every = models_gpu.chosen(models_gpu.parse(["export", "folder"]))
        self.assertEqual(len({models_gpu.archive_path(pathlib.Path(), *item) for item in every}), 4 * len(MODELS))

    def test_unknown_models_are_refused(self):
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            models_gpu.parse(["run", "folder", "build", "--model", "other"])

    def test_only_floats_change_their_dtype(self):
        ids, values = in_dtype((torch.ones(2, dtype=torch.int64), torch.ones(2)), torch.float16)
        self.assertEqual((ids.dtype, values.dtype), (torch.int64, torch.float16))


class Table(unittest.TestCase):
    def setUp(self):
        self.table = ModelTable(with_compile=True)
        self.table.rows = [
            {"model": "A", "form": "softmax", "dtype": "fp16", "fused": 12, "sites": 12,
             "ms": {"original": 20.0, "converted": 5.0}, "alone_ms": {"original": 2.0, "converted": 1.0}, "errors": {}},
            {"model": "A", "form": "sdpa", "dtype": "fp16", "fused": 11, "sites": 12,
             "ms": {"original": 8.0, "converted": 4.0, "compiled": 6.0},
             "alone_ms": {"original": 1.5, "converted": 1.2}, "errors": {"original": (2e-7, 3e-6), "converted": (1e-7, 2e-6)}},
        ]

    def test_lines(self):
        words = [self.table.line(row).split() for row in self.table.rows]
        self.assertEqual(words[0], ["A", "softmax", "fp16", "20.00", "5.00", "-", "4.00", "12", "of", "12", "2.00", "->", "1.00", "2.00"])
        self.assertEqual(words[1][3:7], ["8.00", "4.00", "6.00", "2.00"])
        self.assertEqual(" ".join(words[1][14:]), "2.0e-07 (3.0e-06) -> 1.0e-07 (2.0e-06)")

    def test_summary_compares_with_the_fastest_other_way(self):
        lines = list(self.table.summary())
        self.assertIn("softmax, fp16: 4.00 times", lines[0])
        self.assertEqual(lines[-1], "A, fp16: best converted 4.00 ms, best other 6.00 ms, 1.50")

    def test_markdown(self):
        self.assertEqual(list(self.table.markdown())[-1],
                         "| A | fp16 | softmax 20.0 → 5.0 (4.00); sdpa 8.0 → 4.0 (2.00) | 6.0 | 1.50 → 1.00 (1.50) | 2.0e-07 → 1.0e-07 |")


if __name__ == "__main__":
    unittest.main()
