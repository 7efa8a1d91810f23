"""What flashconvert::attention computes on the CPU, against a float64 reference. Environment: FLASHCONVERT_OPS."""

import itertools
import math
import pathlib
import unittest

import torch

from operator_reference import check, expected_strides, load_operator, reference

attention = load_operator()
torch.set_num_threads(1)  # small problems: threads would mostly wait for each other
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SCALE = 0.3


def randn(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def operands(batch=2, heads=4, key_heads=4, queries=7, keys=9, features=16, value_features=None, dtype=torch.float32):
    value_features = features if value_features is None else value_features
    return (randn(batch, heads, queries, features, dtype=dtype, seed=1),
            randn(batch, key_heads, keys, features, dtype=dtype, seed=2),
            randn(batch, key_heads, keys, value_features, dtype=dtype, seed=3))


class Case(unittest.TestCase):
    def agrees(self, *tensors, **options):
        options.setdefault("scale", SCALE)
        output = attention(*tensors, **options)
        check(self, output, *tensors, **options)
        self.assertEqual(output.stride(), expected_strides(output.shape))
        return output


class Forms(Case):
    """Each combination of mask, band, softcap and treatment of masked rows, over shapes and dtypes."""

    BANDS = (dict(), dict(causal=True), dict(causal=True, bottom_right=True), dict(window=(2, 1)),
             dict(window=(0, 2), bottom_right=True), dict(causal=True, window=(1, -1)))

    def biases(self, heads, queries, keys, dtype):
        keep = randn(2, 1, queries, keys) > 0.6  # with fully masked rows
        additive = randn(1, heads, queries, keys)
        infinite = additive.masked_fill(randn(1, heads, queries, keys, seed=5) > 0.5, -math.inf)
        infinite[:, :, 0] = -math.inf
        return (None, keep, randn(2, 1, 1, keys) > 0.2, additive.to(dtype), additive, infinite,
                torch.full((2, 1, queries, keys), torch.finfo(torch.float32).min))

    def run_forms(self, dtype, shapes):
        for (heads, key_heads), (queries, keys), (features, value_features) in shapes:
            tensors = operands(2, heads, key_heads, queries, keys, features, value_features, dtype)
            for bias, band in itertools.product(self.biases(heads, queries, keys, dtype), self.BANDS):
                for softcap, zero in ((0.0, False), (0.0, True), (3.0, False), (3.0, True)):
                    with self.subTest(shape=(heads, key_heads, queries, keys, features, value_features), **band,
                                      bias=None if bias is None else (bias.dtype, tuple(bias.shape)), softcap=softcap,
                                      zero=zero):
                        self.agrees(*tensors, bias, softcap=softcap, zero_masked_rows=zero, **band)

    def test_dtypes(self):
        for dtype in DTYPES:
            with self.subTest(dtype=dtype):
                self.run_forms(dtype, [((4, 2), (5, 7), (16, 16)), ((2, 2), (7, 5), (8, 24))])

    @unittest.skipIf("avx512_fp16" in pathlib.Path("/proc/cpuinfo").read_text(), "this processor computes in float16")
    def test_float16_is_rounded_once(self):
        tensors = operands(dtype=torch.float16)
        wide = [tensor.float() for tensor in tensors]
        for bias in self.biases(4, 7, 9, torch.float16):
            with self.subTest(bias=None if bias is None else (bias.dtype, tuple(bias.shape))):
                is_half = bias is not None and bias.dtype == torch.float16
                expected = attention(*wide, bias.float() if is_half else bias, scale=SCALE).half()
                torch.testing.assert_close(attention(*tensors, bias, scale=SCALE), expected, rtol=0, atol=0, equal_nan=True)

    def test_shapes(self):
        shapes = [((4, 1), (1, 9), (16, 16)), ((6, 2), (9, 1), (1, 1)), ((2, 2), (3, 130), (7, 7))]
        self.run_forms(torch.float32, shapes)

    def test_longer_than_one_block_of_torchs_kernel(self):
        self.run_forms(torch.float32, [((2, 1), (40, 600), (16, 16))])

    def test_scores_beyond_the_cache_are_taken_in_pieces(self):
        for heads, key_heads, queries, keys, batch in ((4, 2, 700, 1100, 1), (8, 2, 300, 300, 2), (2, 1, 64, 40, 300)):
            query, key, value = operands(batch, heads, key_heads, queries, keys, 8, 12)
            for bias in (None, randn(1, heads, queries, 1), randn(batch, 1, 1, keys) > -1, randn(queries, keys)):
                with self.subTest(shape=(batch, heads, key_heads, queries, keys), bias=bias is not None):
                    self.agrees(query, key, value, bias, window=(400, 20), softcap=5.0)

    def test_default_arguments(self):
        query, key, value = operands()
        self.assertTrue(torch.equal(attention(query, key, value, scale=SCALE),
                                    attention(query, key, value, None, scale=SCALE, causal=False, window=[-1, -1],
                                              softcap=0.0, zero_masked_rows=False, bottom_right=False)))

    def test_scales(self):
        for scale, dtype in itertools.product((0.0, 1.0, -0.5, 0.125, 1 / math.sqrt(80), 5.0), DTYPES):
            with self.subTest(scale=scale, dtype=dtype):
                self.agrees(*operands(dtype=dtype), scale=scale)
                self.agrees(*operands(dtype=dtype), scale=scale, softcap=2.0)


class Shapes(Case):
    def test_ranks(self):
        for shape in ((7, 8), (3, 7, 8), (2, 3, 7, 8), (2, 5, 3, 7, 8), (2, 1, 2, 3, 7, 8)):
            for bias_rank in range(len(shape) + 1):
                bias = None if bias_rank == len(shape) else randn(*(shape[:-1] + (7,))[bias_rank:])
                with self.subTest(shape=shape, bias_rank=bias_rank):
                    self.agrees(randn(*shape, seed=1), randn(*shape, seed=2), randn(*shape, seed=3), bias)

    def test_window_masks_of_five_dimensions(self):
        query, key, value = (randn(3, 4, 2, 6, 8, seed=seed) for seed in range(3))  # [images, windows, heads, L, D]
        for shape in ((1, 4, 1, 6, 6), (4, 1, 6, 6), (3, 1, 1, 6, 6), (3, 4, 2, 6, 6), (1, 1, 2, 6, 6), (3, 4, 1, 1, 6)):
            with self.subTest(bias=shape):
                self.agrees(query, key, value, randn(*shape))
                self.agrees(query, key, value, randn(*shape) > -1)
                self.agrees(query, key, value, randn(*shape), softcap=2.0)

    def test_batches_broadcast(self):
        query, key, value = operands()
        self.agrees(query, key[:1], value[:1])
        self.agrees(query[:1], key, value)
        self.agrees(query, key, value[0])
        self.agrees(randn(3, 7, 16), randn(9, 16), randn(1, 9, 16))
        self.agrees(randn(2, 1, 3, 7, 16), randn(1, 4, 3, 9, 16), randn(2, 4, 3, 9, 16))
        expected = attention(query[:, :1].expand(-1, 4, -1, -1), key, value, scale=SCALE)
        self.assertTrue(torch.equal(attention(query[:, :1], key, value, scale=SCALE), expected))

    def test_strides(self):
        packed = randn(2, 7, 3, 4, 16)  # what a packed projection gives: [B, L, 3, H, D]
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        self.agrees(query, key, value)
        self.agrees(query, key, value, causal=True)
        strided = randn(2, 4, 7, 32)[..., ::2]
        transposed = randn(2, 4, 16, 7).transpose(2, 3)
        for operand in (strided, transposed, randn(4, 7, 16).expand(2, 4, 7, 16), randn(2, 4, 14, 16)[:, :, ::2]):
            for tensors in ((operand, key, value), (query, operand, value), (query, key, operand)):
                self.agrees(*tensors)
                self.agrees(*tensors, softcap=2.0)

    def test_strides_of_the_bias(self):
        query, key, value = operands(keys=7)
        full = randn(2, 4, 7, 14)
        for bias in (full[..., ::2], full[..., :7].transpose(2, 3), full[:, :1, :1, :7].expand(2, 4, 7, 7),
                     full[:1, :, :, :1].expand(2, 4, 7, 7), full[:, :, :1, :7], randn(1), torch.tensor(-2.0)):
            for mask in (bias, bias > -1):
                self.agrees(query, key, value, mask)
                self.agrees(query, key, value, mask, softcap=2.0)

    def test_dtypes_of_the_bias(self):
        for dtype, bias_dtype in itertools.product(DTYPES, DTYPES):
            with self.subTest(dtype=dtype, bias=bias_dtype):
                self.agrees(*operands(dtype=dtype), randn(1, 4, 7, 9, dtype=bias_dtype))

    def test_nothing_to_attend_to(self):
        for softcap in (0.0, 1.0):
            output = self.agrees(*operands(keys=0), softcap=softcap)
            self.assertTrue(torch.equal(output, torch.zeros_like(output)))
            output = self.agrees(*operands(keys=0), torch.zeros(7, 0, dtype=torch.bool), softcap=softcap)
            self.assertTrue(torch.equal(output, torch.zeros_like(output)))

    def test_empty_results(self):
        self.agrees(*operands(queries=0))
        self.agrees(*operands(batch=0))
        self.agrees(*operands(heads=0, key_heads=0))
        self.agrees(*operands(value_features=0))
        self.agrees(*operands(queries=0), randn(1, 9), causal=True)

    def test_no_features(self):
        query, key, value = operands(features=0, value_features=16)
        self.agrees(query, key, value)


class Extremes(Case):
    def test_finite_masks_give_the_mean(self):
        """float32's lowest value beside 16-bit operands: the converter's masks must not become minus infinity."""
        for dtype in DTYPES:
            query, key, value = operands(dtype=dtype)
            bias = torch.full((2, 1, 1, 9), torch.finfo(torch.float32).min)
            output = attention(query, key, value, bias, scale=SCALE)
            mean = value.double().mean(2, keepdim=True).expand_as(output)
            self.assertLessEqual((output.double() - mean).abs().max().item(), 2 * torch.finfo(dtype).eps)

    def test_masked_rows(self):
        query, key, value = operands()
        mask = torch.ones(2, 1, 7, 9, dtype=torch.bool)
        mask[1, :, 3] = False
        for bias in (mask, torch.zeros(mask.shape).masked_fill(~mask, -math.inf)):
            for softcap in (0.0, 2.0):
                output = attention(query, key, value, bias, scale=SCALE, softcap=softcap)
                self.assertTrue(output[1, :, 3].isnan().all())
                self.assertEqual(output.isnan().sum().item(), 4 * 16)
                zeros = attention(query, key, value, bias, scale=SCALE, softcap=softcap, zero_masked_rows=True)
                self.assertTrue((zeros[1, :, 3] == 0).all())
                self.assertFalse(zeros.isnan().any())

    def test_zero_operands_are_no_masked_row(self):
        """A logarithm of sums of 0 and an output of 0, with one visible key: what a masked row looks like."""
        zeros = torch.zeros(1, 1, 1, 16)
        self.assertTrue(torch.equal(attention(zeros, zeros, zeros, scale=1.0), zeros))
        self.assertTrue(torch.equal(attention(zeros, zeros, zeros, torch.ones(1, 1, dtype=torch.bool), scale=1.0), zeros))

    def test_nan_and_infinity_spread_as_in_a_softmax(self):
        for length in (1, 3, 8, 70):
            for which, poison in itertools.product(range(3), (math.nan, math.inf, -math.inf)):
                tensors = [randn(1, 2, length, 16, seed=seed) for seed in range(3)]
                tensors[which][0, 0, length // 2, 0] = poison
                with self.subTest(length=length, operand=which, poison=poison):
                    output = attention(*tensors, scale=SCALE)
                    expected = reference(*tensors, scale=SCALE)
                    self.assertTrue(torch.equal(output.isnan(), expected.isnan()))

    def test_large_scores(self):
        for dtype, factor in ((torch.float32, 1e4), (torch.float16, 250.0), (torch.bfloat16, 1e4)):
            query, key, value = operands(dtype=dtype)
            query, key = query * factor, key * 4
            for softcap in (0.0, 30.0):
                output = attention(query, key, value, scale=0.25, softcap=softcap)
                expected = reference(query, key, value, scale=0.25, softcap=softcap)
                self.assertTrue(output.isfinite().all())
                self.assertLessEqual((output.double() - expected).abs().max().item(), 0.05 * expected.abs().max().item())

    def test_equal_scores_of_any_size(self):
        for value in (0.0, 1e30, -1e30):
            bias = torch.full((7, 9), value)
            self.agrees(*operands(), bias)


def torchs_kernel_runs(tensors):
    """Not with ATEN_CPU_CAPABILITY=avx2 on a processor with AMX: torch then packs 16-bit operands with code it lacks."""
    try:
        torch.nn.functional.scaled_dot_product_attention(*tensors)
    except RuntimeError as error:
        if "pack_vnni2 is only supported" in str(error):
            return False
        raise
    return True


class Guarantees(Case):
    def test_same_bits_every_time(self):
        for dtype in DTYPES:
            tensors = operands(queries=130, keys=70, dtype=dtype)
            if not torchs_kernel_runs(tensors):
                continue
            for options in (dict(), dict(softcap=2.0), dict(causal=True)):
                first = attention(*tensors, scale=SCALE, **options)
                for _ in range(3):
                    self.assertTrue(torch.equal(first, attention(*tensors, scale=SCALE, **options)))

    def test_operands_are_left_alone(self):
        tensors = (*operands(), randn(7, 9).masked_fill(randn(7, 9) > 1, -math.inf))
        copies = [tensor.clone() for tensor in tensors]
        output = attention(*tensors, scale=SCALE)
        output.fill_(7.0)
        for tensor, copy in zip(tensors, copies):
            self.assertTrue(torch.equal(tensor, copy))

    def test_the_heads_merge_without_a_copy(self):
        output = attention(*operands(), scale=SCALE)
        merged = output.transpose(1, 2).reshape(2, 7, 64)
        self.assertEqual(merged.data_ptr(), output.data_ptr())

    def test_the_record_of_kernels(self):
        record = torch.ops.flashconvert.kernels_used
        record(True)
        self.assertEqual(record(), [])
        attention(*operands(), scale=SCALE)
        self.assertEqual(record(), ["torch: flash_attention_for_cpu"])
        attention(*operands(), scale=SCALE, softcap=1.0)
        self.assertEqual(record(True), ["torch: flash_attention_for_cpu", "torch: matmul, softmax"])
        self.assertEqual(record(), [])


class Errors(unittest.TestCase):
    def fails(self, message, *tensors, **options):
        options.setdefault("scale", SCALE)
        for grad in (False, True):
            with self.assertRaisesRegex(RuntimeError, message), torch.set_grad_enabled(grad):
                attention(*tensors, **options)

    def test_messages_name_the_argument_the_expected_and_the_given(self):
        query, key, value = operands()
        self.fails(r"query must have at least 2 dimensions.*given \[16\]", query[0, 0, 0], key, value)
        self.fails(r"query must be float16.*given Int", query.int(), key.int(), value.int())
        self.fails(r"key must have the dtype of query: expected Float, given Double", query, key.double(), value)
        self.fails(r"value must have the dtype of query: expected Float, given Half", query, key, value.half())
        self.fails(r"key must be on the device of query: expected cpu, given meta", query, key.to("meta"), value)
        self.fails(r"key must have as many features as query: expected 16, given 8", query, key[..., :8], value)
        self.fails(r"value must be as long as key: expected 9, given 8", query, key, value[:, :, :8])
        self.fails(r"key must have the batch of query.*expected \[2\], given \[3\]", query, randn(3, 4, 9, 16), value)
        self.fails(r"value must have the batch of query.*expected \[2\], given \[3\]", query, key, randn(3, 4, 9, 16))
        self.fails(r"divides the query's 4; given 3", query, key[:, :3], value[:, :3])
        self.fails(r"value must have the heads of key: expected 4, given 2", query, key, value[:, :2])
        self.fails(r"bias must be boolean.*given Int", query, key, value, torch.ones(7, 9).int())
        self.fails(r"bias must broadcast.*expected \[2, 4, 7, 9\], given \[9, 7\]", query, key, value, randn(9, 7))
        self.fails(r"bias must broadcast.*given \[1, 2, 4, 7, 9\]", query, key, value, randn(1, 2, 4, 7, 9))
        self.fails(r"bias must be on the device of query", query, key, value, torch.zeros(7, 9, device="meta"))
        self.fails(r"window must hold.*given \[-2, 0\]", query, key, value, window=[-2, 0])
        self.fails(r"softcap must not be negative.*given -1", query, key, value, softcap=-1.0)

    def test_scale_is_required(self):
        with self.assertRaisesRegex(RuntimeError, "scale"):
            attention(*operands())


if __name__ == "__main__":
    unittest.main()
