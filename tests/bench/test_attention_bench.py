"""The benchmark of the kernels, as far as a machine without a GPU can run it: shapes, references, competitors, tables."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent / "kernels"))

import attention_bench
from attention_shapes import GROUPS, Shape, select
from competitors import FlashAttention3, Math, Unsupported, additive_mask
from measurement import Reference, is_wrong
from results_table import ResultTable, geometric_mean

SMALL = {
    "plain": Shape("", "fp32", 2, 4, 9, 8),
    "causal": Shape("", "fp32", 2, 4, 9, 8, causal=True),
    "window": Shape("", "fp32", 2, 4, 9, 8, causal=True, window_left=3),
    "grouped": Shape("", "fp32", 2, 4, 9, 8, key_heads=2),
    "cross": Shape("", "fp32", 2, 4, 5, 8, key_length=11, causal=True),
    "softcap": Shape("", "fp32", 2, 4, 9, 8, softcap=2.0, causal=True),
    "value_dim": Shape("", "fp32", 2, 4, 9, 8, value_dim=5),
    "additive": Shape("", "fp32", 2, 4, 9, 8, bias="additive"),
    "padding": Shape("", "fp32", 2, 4, 9, 8, bias="padding"),
}

# What a build of FlashAttention-3 offers, by scaled_dot_product_attention; local attention left out, as builds do.
STAND_IN = """
import torch
def flash_attn_func(q, k, v, causal=False, window_size=(-1, -1), softcap=0.0, num_splits=1):
    assert q.shape[1] != q.shape[2] and q.is_contiguous(), "wants [B, L, H, D]"
    if window_size != (-1, -1):
        raise RuntimeError("This flash attention build does not support local attention.")
    query, key, value = (tensor.transpose(1, 2) for tensor in (q, k, v))
    mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(k.shape[1] - q.shape[1]) if causal else None
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2), None
"""


def row(group, name, ours, flash, cudnn, dtype="fp16", causal=False):
    def result(tflops):
        return {"tflops": tflops, "ms": 100 / tflops, "relative_error": 1e-4} if tflops else {"unavailable": "no"}

    return {"group": group, "name": name, "dtype": dtype, "causal": causal, "kernel": "some-kernel", "ceiling_ms": 0.125,
            "results": {"ours": result(ours), "flash": result(flash), "cudnn": result(cudnn)}}


class Shapes(unittest.TestCase):
    def test_names_are_unique(self):
        names = [shape.name for shape in select(GROUPS, [], False)]
        self.assertEqual(len(names), len(set(names)))

    def test_main_is_the_whole_grid(self):
        shapes = select(["main"], [], False)
        self.assertEqual(len(shapes), 3 * 4 * 2 * 2)
        self.assertEqual({shape.batch * shape.query_length for shape in shapes}, {16384})
        self.assertEqual({shape.heads * shape.head_dim for shape in shapes}, {2048})

    def test_quick_is_a_part(self):
        for group in GROUPS:
            quick, full = (select([group], [], quick) for quick in (True, False))
            self.assertTrue(quick and set(quick) <= set(full), group)

    def test_only(self):
        names = [shape.name for shape in select(["main"], ["D64 L2048", "D256 L512 causal"], False)]
        self.assertEqual(names, ["fp16 D64 L2048", "fp16 D64 L2048 causal", "fp16 D256 L512 causal", "bf16 D64 L2048",
                                 "bf16 D64 L2048 causal", "bf16 D256 L512 causal"])

    def test_work_is_what_the_mask_leaves(self):
        for shape in (SMALL["window"], SMALL["cross"], Shape("", "fp16", 1, 1, 12, 8, key_length=7, causal=True)):
            seen = shape.visible(torch.arange(shape.query_length), "cpu").sum().item()
            self.assertEqual(shape.visible_pairs(), seen, shape.name)
        self.assertEqual(Shape("", "fp16", 2, 3, 10, 64, causal=True).flops(), 2 * 2 * 3 * 50 * 128)


class Results(unittest.TestCase):
    def test_math_agrees_with_the_reference(self):
        for name, shape in SMALL.items():
            with self.subTest(name):
                tensors, bias = shape.inputs(0, "cpu")
                reference = Reference(shape, tensors, bias)
                result = Math()(shape, tensors, bias)
                self.assertFalse(is_wrong(shape.dtype, reference.error(result)))
                self.assertTrue(is_wrong(shape.dtype, reference.error(result * 1.001)))
                result[0, 0, 0, 0] = float("nan")
                self.assertTrue(is_wrong(shape.dtype, reference.error(result)))

    def test_every_part_of_a_shape_matters(self):
        plain = SMALL["plain"]
        for name in ("causal", "window", "softcap", "additive", "padding"):
            tensors, bias = SMALL[name].inputs(0, "cpu")
            error = Reference(SMALL[name], tensors, bias).error(Math()(plain, tensors, None))
            self.assertTrue(is_wrong(plain.dtype, error), name)

    def test_additive_mask(self):
        mask = additive_mask(SMALL["window"], "cpu")
        self.assertEqual((mask == 0).sum(1).tolist(), [1, 2, 3, 4, 4, 4, 4, 4, 4])

    def test_flash_attention_3(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "flash_attn_interface.py").write_text(STAND_IN)
            attention = FlashAttention3(folder)
            sys.path.remove(folder)
        for name in ("plain", "causal", "cross"):
            half = Shape(**{**vars(SMALL[name]), "dtype_name": "bf16"})
            tensors, _ = half.inputs(0, "cpu")
            error = Reference(half, tensors, None).error(attention(half, tensors, None))
            self.assertFalse(is_wrong(half.dtype, error), name)
            with self.assertRaises(Unsupported):
                attention(SMALL[name], *SMALL[name].inputs(0, "cpu"))
        window = Shape(**{**vars(SMALL["window"]), "dtype_name": "bf16"})
        with self.assertRaisesRegex(RuntimeError, "local attention"):
            attention(window, *window.inputs(0, "cpu"))


class Table(unittest.TestCase):
    def setUp(self):
        self.table = ResultTable(["ours"], ["flash", "cudnn"])
        self.rows = [row("main", "a", 400, 200, 500), row("main", "b", 450, None, 300, causal=True),
                     row("short", "c", 50, None, None)]

    def test_lines_are_aligned(self):
        header, *lines = [self.table.header()] + [self.table.line(item) for item in self.rows]
        self.assertEqual([line.split()[1:6] for line in lines],
                         [["400.0", "200.0", "500.0", "0.80", "0.50"], ["450.0", "-", "300.0", "1.50", "0.56"],
                          ["50.0", "-", "-", "-", "0.06"]])
        self.assertEqual({line.index("some-kernel") for line in lines}, {header.index("kernel")})

    def test_a_wrong_result_counts_for_nothing(self):
        self.rows[0]["results"]["cudnn"]["wrong"] = True
        self.assertIn("WRONG", self.table.line(self.rows[0]))
        self.assertIn("2.00", self.table.line(self.rows[0]).split())

    def test_summary(self):
        lines = [line.split() for line in self.table.summary(self.rows)][1:]
        self.assertEqual(lines[0][:5], ["main", "1.095", "0.800", "0.530", "2"])
        self.assertEqual([line[0] for line in lines], ["main", "main", "main", "short"])
        self.assertEqual(lines[3][:3], ["short", "-", "-"])
        self.assertAlmostEqual(geometric_mean([0.5, 2, 8]), 2)

    def test_markdown(self):
        text = "\n".join(self.table.markdown(self.rows))
        self.assertIn("| a | 400 | 200 | **500** | 0.80 | 0.50 |", text)
        self.assertIn("| short | ours | ratio to the best", text)

    def test_failures_are_ours(self):
        self.assertEqual(list(attention_bench.failures(self.rows, ["ours"])), [])
        self.rows[0]["results"]["ours"] = {"wrong": True, "relative_error": 0.5}
        self.rows[2]["results"]["ours"] = {"unavailable": "code 700"}
        self.assertEqual(list(attention_bench.failures(self.rows, ["ours"])),
                         ["a: ours is wrong, error 0.5", "c: ours code 700"])
        self.rows[2]["kernel"] = None
        self.assertEqual(len(list(attention_bench.failures(self.rows, ["ours"]))), 1)


class Options(unittest.TestCase):
    def test_groups_are_known(self):
        options = attention_bench.parse(["lib.so", "--group", "main", "--group", "short", "--quick"])
        self.assertEqual(options.group, ["main", "short"])
        with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            attention_bench.parse(["lib.so", "--group", "other"])

    def test_builds_have_names(self):
        names = attention_bench.library_names(["a/lib.so", "a/lib.so", "other-build/lib.so"])
        self.assertEqual((names[0], len(set(names))), ("ours", 3))


if __name__ == "__main__":
    unittest.main()
