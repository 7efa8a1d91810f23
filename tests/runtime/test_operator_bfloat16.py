"""The operator's own kernel for bfloat16 on the CPU (docs/operator.md), against the float64 reference, and beside what
the operator does on processors without it. Environment: FLASHCONVERT_OPS."""

import itertools
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

# Before torch is imported. On a processor with AMX, torch and the operator then do without it, and the kernel runs.
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_BF16"

import torch

from operator_reference import EPSILON, check, load_operator, reference

attention = load_operator()
kernels_used = torch.ops.flashconvert.kernels_used
torch.set_num_threads(1)
SCALE = 0.3
HAS_KERNEL = {"avx512_bf16", "avx512bw", "avx512dq", "avx512vl"} <= set(pathlib.Path("/proc/cpuinfo").read_text().split())
needs_kernel = unittest.skipUnless(HAS_KERNEL, "this processor has no AVX512-BF16: its kernel is NOT tested here")


def randn(*shape, dtype=torch.bfloat16, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def operands(batch=2, heads=4, key_heads=4, queries=7, keys=9, features=16, value_features=None):
    value_features = features if value_features is None else value_features
    return (randn(batch, heads, queries, features, seed=1), randn(batch, key_heads, keys, features, seed=2),
            randn(batch, key_heads, keys, value_features, seed=3))


@needs_kernel
class Case(unittest.TestCase):
    def run_kernel(self, *tensors, **options):
        options.setdefault("scale", SCALE)
        kernels_used(True)
        output = attention(*tensors, **options)
        self.assertEqual(kernels_used(True), ["avx512_bf16"])
        return output

    def agrees(self, *tensors, **options):
        options.setdefault("scale", SCALE)
        output = self.run_kernel(*tensors, **options)
        check(self, output, *tensors, **options)
        return output


class Sizes(Case):
    """Blocks have 66 queries, tiles 6 queries and 256 keys, panels 64 columns, registers 16 columns or 32 features."""

    def test_lengths(self):
        for queries in (1, 5, 6, 7, 12, 65, 66, 67, 131, 132, 133, 200):
            for keys in (1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 255, 256, 257, 511, 513, 700):
                with self.subTest(queries=queries, keys=keys):
                    self.agrees(*operands(1, 2, 1, queries, keys, 16))

    def test_features(self):
        for features, value_features in ((1, 1), (2, 3), (3, 2), (15, 17), (16, 16), (31, 33), (32, 64), (33, 31), (40, 40),
                                         (63, 65), (64, 64), (65, 128), (80, 80), (127, 127), (129, 72), (256, 256),
                                         (300, 513)):
            for queries, keys in ((7, 9), (67, 130)):
                with self.subTest(features=(features, value_features), lengths=(queries, keys)):
                    self.agrees(*operands(1, 2, 2, queries, keys, features, value_features), scale=features**-0.5)

    def test_grouped_heads_share_blocks(self):
        for heads, key_heads in ((8, 2), (6, 1), (5, 5)):
            for queries, keys in ((1, 300), (7, 40), (70, 70)):
                tensors = operands(2, heads, key_heads, queries, keys, 32)
                bias = randn(2, heads, queries, keys)
                for options in (dict(), dict(causal=True, bottom_right=True), dict(window=(20, 3))):
                    with self.subTest(heads=(heads, key_heads), queries=queries, **options):
                        self.agrees(*tensors, **options)
                        self.agrees(*tensors, bias, **options)

    def test_more_keys_than_are_packed_at_once(self):
        for keys in (4095, 4096, 4097, 9001):
            tensors = operands(1, 2, 1, 40, keys, 16)
            for options in (dict(), dict(causal=True, bottom_right=True), dict(window=(3000, 5), bottom_right=True)):
                with self.subTest(keys=keys, **options):
                    self.agrees(*tensors, **options)

    def test_nothing_to_attend_to(self):
        output = attention(*operands(keys=0), scale=SCALE)
        self.assertTrue(torch.equal(output, torch.zeros_like(output)))
        self.agrees(*operands(features=0, value_features=16))


class Masks(Case):
    def biases(self, heads, queries, keys):
        added = randn(1, heads, queries, keys)
        hidden = randn(1, heads, queries, keys, seed=5) > 0.5
        hidden[:, :, 0] = True  # a row in which every key is masked
        return (randn(2, 1, 1, keys) > 0.2, ~hidden, added, added.float(), added.masked_fill(hidden, -math.inf),
                added.float().masked_fill(hidden, -math.inf), torch.full((1, keys), torch.finfo(torch.float32).min))

    def test_forms(self):
        bands = (dict(), dict(causal=True), dict(causal=True, bottom_right=True), dict(window=(2, 1)),
                 dict(window=(100, 70)), dict(window=(0, 2), bottom_right=True), dict(causal=True, window=(1, -1)))
        for queries, keys in ((7, 9), (9, 7), (70, 300), (300, 70)):
            tensors = operands(2, 4, 2, queries, keys, 16)
            for bias, band in itertools.product((None, *self.biases(4, queries, keys)), bands):
                for softcap, zero in ((0.0, False), (0.0, True), (3.0, True)):
                    with self.subTest(lengths=(queries, keys), bias=bias is not None and (bias.dtype, tuple(bias.shape)),
                                      softcap=softcap, zero=zero, **band):
                        self.agrees(*tensors, bias, softcap=softcap, zero_masked_rows=zero, **band)

    def test_layouts_of_the_bias(self):
        tensors = operands(queries=7, keys=7)
        full = randn(2, 4, 7, 14)
        for bias in (full[..., ::2], full[..., :7].transpose(2, 3), full[:, :1, :1, :7].expand(2, 4, 7, 7),
                     full[:1, :, :, :1].expand(2, 4, 7, 7), full[:, :, :1, :7], full[:, :, :, :1], full[0, 0, 0, 0]):
            for mask in (bias, bias.float(), bias.double(), bias > -1):
                with self.subTest(shape=tuple(mask.shape), strides=mask.stride(), dtype=mask.dtype):
                    self.agrees(*tensors, mask)

    def test_the_end_of_a_mask_is_not_passed(self):
        """What lies behind a row in memory is no bias: here it is NaN, and true."""
        for keys in (9, 65, 250, 257):
            memory = torch.full((5, keys + 40), math.nan)
            memory[:, :keys] = 0.0
            expected = attention(*operands(1, 1, 1, 5, keys), scale=SCALE)
            for bias in (memory[:, :keys], memory.bfloat16()[:, :keys]):
                self.assertTrue(torch.equal(self.run_kernel(*operands(1, 1, 1, 5, keys), bias), expected))
            mask = torch.ones(5, keys + 40, dtype=torch.bool)[:, :keys]
            self.assertTrue(torch.equal(self.run_kernel(*operands(1, 1, 1, 5, keys), mask), expected))


class Layouts(Case):
    def test_strides(self):
        query, key, value = operands()
        self.agrees(*randn(2, 7, 3, 4, 16).permute(2, 0, 3, 1, 4), causal=True)  # a packed projection
        strided, rows = randn(2, 4, 7, 32)[..., ::2], randn(2, 4, 14, 16)[:, :, ::2]
        transposed, expanded = randn(2, 4, 16, 7).transpose(2, 3), randn(4, 7, 16).expand(2, 4, 7, 16)
        for operand in (strided, rows, transposed, expanded):
            with self.subTest(strides=operand.stride()):
                self.agrees(operand, key, value)
                self.agrees(query, operand, value[:, :, :7])
                self.agrees(query, key[:, :, :7], operand)

    def test_neighbours_of_a_row_are_not_read(self):
        """Heads of 15 features cut out of memory that is NaN elsewhere."""
        memory = torch.full((3, 2, 4, 70, 40), math.nan, dtype=torch.bfloat16)
        memory[..., :15] = randn(3, 2, 4, 70, 15)
        self.agrees(*memory[..., :15])


class Numbers(Case):
    def test_scales_and_softcaps(self):
        for scale, softcap in itertools.product((0.0, 1.0, -0.5, 0.125, 1 / math.sqrt(80), 5.0), (0.0, 0.5, 50.0)):
            with self.subTest(scale=scale, softcap=softcap):
                self.agrees(*operands(), scale=scale, softcap=softcap)

    def test_the_largest_score_comes_late_or_early(self):
        for order in (1, -1):
            query, key, value = operands(1, 1, 1, 5, 900, 16)
            self.agrees(query, key, value, order * 0.25 * torch.arange(900.0))

    def test_one_key_gives_its_value(self):
        query, key, value = operands(keys=1)
        self.assertTrue(torch.equal(self.run_kernel(query * 100, key, value), value.expand(-1, -1, 7, -1)))

    def test_large_scores(self):
        query, key, value = operands(queries=70, keys=300)
        for softcap in (0.0, 30.0):
            output = self.run_kernel(query * 1e4, key * 4, value, scale=0.25, softcap=softcap)
            expected = reference(query * 1e4, key * 4, value, scale=0.25, softcap=softcap)
            self.assertTrue(output.isfinite().all())
            self.assertLessEqual((output.double() - expected).abs().max().item(), 0.05 * expected.abs().max().item())

    def test_beside_a_large_bias_scores_have_no_digits(self):
        for value in (1e30, -1e30, torch.finfo(torch.float32).min, torch.finfo(torch.float32).max):
            with self.subTest(value=value):
                tensors = operands(keys=300)
                output = self.run_kernel(*tensors, torch.full((7, 300), value))
                mean = tensors[2].double().mean(2, keepdim=True).expand_as(output)
                self.assertLessEqual((output.double() - mean).abs().max().item(), EPSILON[torch.bfloat16] * mean.abs().max())

    def test_nan_and_infinity_spread_as_in_a_softmax(self):
        for length in (1, 3, 8, 70, 300):
            for which, poison in itertools.product(range(3), (math.nan, math.inf, -math.inf)):
                tensors = [randn(1, 2, length, 16, seed=seed) for seed in range(3)]
                tensors[which][0, 0, length // 2, 0] = poison
                with self.subTest(length=length, operand=which, poison=poison):
                    output = self.run_kernel(*tensors)
                    expected = reference(*tensors, scale=SCALE)
                    self.assertTrue(torch.equal(output.isnan(), expected.isnan()))
                    self.assertTrue(torch.equal(output.isposinf(), expected.isposinf()))
                    self.assertTrue(torch.equal(output.isneginf(), expected.isneginf()))

    def test_a_hidden_key_may_be_nan_and_a_hidden_value_may_not(self):
        query, key, value = operands()
        visible = torch.ones(9, dtype=torch.bool)
        visible[4] = False
        expected = self.run_kernel(query, key, value, visible)
        key[:, :, 4] = math.nan
        self.assertTrue(torch.equal(self.run_kernel(query, key, value, visible), expected))
        value[:, :, 4, 0] = math.inf
        output = self.run_kernel(query, key, value, visible)
        self.assertTrue(output[..., 0].isnan().all())
        self.assertTrue(torch.equal(output[..., 1:], expected[..., 1:]))

    def test_infinite_scores_are_no_masked_row(self):
        """Scores of minus infinity that no mask made: NaN, unless a mask could have made them."""
        query, key, value = (torch.ones(1, 1, 4, 16, dtype=torch.bfloat16) for _ in range(3))
        query[0, 0, 1, 0] = -math.inf
        for zero, bias in itertools.product((False, True), (None, torch.zeros(4), torch.ones(4, dtype=torch.bool))):
            output = self.run_kernel(query, key, value, bias, zero_masked_rows=zero)
            expected = torch.ones_like(output)
            expected[0, 0, 1] = 0.0 if zero and bias is not None else math.nan
            torch.testing.assert_close(output, expected, rtol=0, atol=0, equal_nan=True)


class Threads(Case):
    def test_same_bits_on_any_number_of_threads(self):
        self.addCleanup(torch.set_num_threads, 1)
        tensors = operands(3, 6, 2, 150, 300, 64)
        for options in (dict(), dict(causal=True), dict(softcap=2.0)):
            expected = self.run_kernel(*tensors, **options)
            for threads in (1, 2, 3, 7):
                torch.set_num_threads(threads)
                for _ in range(3):
                    self.assertTrue(torch.equal(self.run_kernel(*tensors, **options), expected))


class BothPaths(unittest.TestCase):
    """One set of problems with the kernel and without it, in a process of its own."""

    @staticmethod
    def outputs():
        hidden = torch.zeros(40, 90, dtype=torch.bool)
        hidden[7], hidden[:, 60:] = True, True
        infinite = torch.zeros(40, 90).masked_fill(hidden, -math.inf)
        query, key, value = operands(2, 4, 2, 40, 90, 32)
        poisoned = value.clone()
        poisoned[0, 0, 70, 3], poisoned[1, 1, 5, 4] = math.inf, math.nan
        outputs = {}
        for name, tensors in (("plain", (query, key, value)), ("poisoned value", (query, key, poisoned)),
                              ("poisoned key", (query, poisoned, value)), ("other features", (query, key, value[..., :24]))):
            biases = (("none", None), ("boolean", ~hidden), ("added", infinite), ("bfloat16", infinite.bfloat16()))
            for (bias_name, bias), zero in itertools.product(biases, (False, True)):
                for band in (dict(), dict(causal=True), dict(window=(9, 4))):
                    if "poisoned" in name and band:
                        continue  # beyond the band, what is multiplied by a weight of 0 and what is skipped may differ
                    outputs[name, bias_name, zero, str(band)] = attention(*tensors, bias, scale=SCALE, zero_masked_rows=zero,
                                                                          **band)
        return outputs

    @needs_kernel
    def test_they_agree(self):
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder) / "outputs.pt")
            program = ("import test_operator_bfloat16 as test, torch; "
                       f"torch.save((test.BothPaths.outputs(), test.kernels_used()), {path!r})")
            subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=pathlib.Path(__file__).parent,
                           env={**os.environ, "ATEN_CPU_CAPABILITY": "avx2"})
            others, kernels = torch.load(path)
        self.assertEqual(kernels, ["torch: flash_attention_for_cpu", "torch: matmul, softmax"])
        kernels_used(True)
        outputs = self.outputs()
        self.assertEqual(kernels_used(True), ["avx512_bf16"])
        self.assertEqual(outputs.keys(), others.keys())
        for case, output in outputs.items():
            with self.subTest(case=case):
                torch.testing.assert_close(output, others[case], rtol=0.016, atol=0.016, equal_nan=True)


if __name__ == "__main__":
    unittest.main()
