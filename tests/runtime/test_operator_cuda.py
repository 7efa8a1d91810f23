"""What flashconvert::attention computes on CUDA, against a float64 reference on the same device. Skips where there is
no GPU. Environment: FLASHCONVERT_OPS."""

import itertools
import math
import unittest

import torch

from operator_reference import check, expected_strides, load_operator

attention = load_operator()
SCALE = 0.3
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def randn(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator).to("cuda", dtype)


def operands(batch=2, heads=4, key_heads=4, queries=130, keys=190, features=64, value_features=None,
             dtype=torch.float16):
    value_features = features if value_features is None else value_features
    return (randn(batch, heads, queries, features, dtype=dtype, seed=1),
            randn(batch, key_heads, keys, features, dtype=dtype, seed=2),
            randn(batch, key_heads, keys, value_features, dtype=dtype, seed=3))


@unittest.skipUnless(torch.cuda.is_available(), "no CUDA device")
class Cuda(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The reference in the operands' dtype must round as the exact form does, not to TF32.
        torch.backends.cuda.matmul.allow_tf32 = False

    @classmethod
    def tearDownClass(cls):
        print("\nkernels:", ", ".join(torch.ops.flashconvert.kernels_used(True)))

    def agrees(self, *tensors, **options):
        options.setdefault("scale", SCALE)
        output = attention(*tensors, **options)
        check(self, output, *tensors, **options)
        self.assertEqual(output.stride(), expected_strides(output.shape))
        return output

    def test_forms(self):
        bands = (dict(), dict(causal=True), dict(causal=True, bottom_right=True), dict(window=(20, 10)),
                 dict(window=(0, 2), bottom_right=True))
        for dtype, (heads, key_heads) in itertools.product(DTYPES, ((4, 4), (4, 2))):
            tensors = operands(heads=heads, key_heads=key_heads, dtype=dtype)
            keep = randn(2, 1, 130, 190) > 0.3
            keep[0, :, 5] = False
            biases = (None, keep, randn(2, 1, 1, 190) > 0, randn(1, heads, 130, 190, dtype=dtype),
                      randn(1, heads, 130, 190), torch.full((1, 1, 1, 190), torch.finfo(torch.float32).min).cuda(),
                      torch.zeros(keep.shape).cuda().masked_fill(~keep, -math.inf))
            for bias, band, softcap, zero in itertools.product(biases, bands, (0.0, 4.0), (False, True)):
                with self.subTest(dtype=dtype, heads=(heads, key_heads), softcap=softcap, zero=zero, **band,
                                  bias=None if bias is None else (bias.dtype, tuple(bias.shape))):
                    self.agrees(*tensors, bias, softcap=softcap, zero_masked_rows=zero, **band)

    def test_head_dimensions(self):
        for dtype in DTYPES:
            for features, value_features in ((1, 1), (8, 8), (24, 40), (33, 17), (72, 72), (80, 80), (96, 96), (128, 128),
                                             (128, 64), (192, 128), (256, 256), (300, 20)):
                with self.subTest(dtype=dtype, features=(features, value_features)):
                    self.agrees(*operands(1, 2, 2, 65, 77, features, value_features, dtype), scale=features**-0.5)

    def test_lengths(self):
        for dtype, queries, keys in itertools.product(DTYPES, (1, 7, 64, 129), (1, 9, 128, 257)):
            with self.subTest(dtype=dtype, queries=queries, keys=keys):
                self.agrees(*operands(1, 3, 1, queries, keys, dtype=dtype), scale=0.125)
                self.agrees(*operands(1, 3, 1, queries, keys, dtype=dtype), scale=0.125, causal=True)

    def test_nothing_to_attend_to(self):
        for dtype in DTYPES:
            self.agrees(*operands(keys=0, dtype=dtype))
            self.agrees(*operands(queries=0, dtype=dtype))
            self.agrees(*operands(batch=0, dtype=dtype))

    def test_strides_and_ranks(self):
        for dtype in DTYPES:
            query, key, value = randn(2, 70, 3, 4, 64, dtype=dtype).permute(2, 0, 3, 1, 4)
            self.agrees(query, key, value)
            self.agrees(randn(2, 4, 70, 128, dtype=dtype)[..., ::2], key, value)
            self.agrees(query, randn(2, 4, 64, 70, dtype=dtype).transpose(2, 3), value[:, :1].expand(-1, 4, -1, -1))
            self.agrees(query[..., 1:33], key[..., 3:35], value[..., 5:37])  # rows that start off any vector boundary
            for shape in ((70, 64), (3, 70, 64), (2, 3, 4, 70, 64)):
                self.agrees(*(randn(*shape, dtype=dtype, seed=seed) for seed in range(3)))
            bias = randn(2, 4, 70, 140, dtype=dtype)
            for view in (bias[..., ::2], bias[..., :70].transpose(2, 3), bias[:, :1, :1, :70].expand(2, 4, 70, 70)):
                self.agrees(query, key, value, view)
                self.agrees(query, key, value, view > -1)

    def test_window_masks_of_five_dimensions(self):
        for dtype in DTYPES:
            tensors = [randn(3, 4, 2, 49, 32, dtype=dtype, seed=seed) for seed in range(3)]
            for shape in ((1, 4, 1, 49, 49), (4, 1, 49, 49), (3, 1, 1, 49, 49), (3, 4, 2, 49, 49), (1, 1, 2, 49, 49)):
                with self.subTest(dtype=dtype, bias=shape):
                    self.agrees(*tensors, randn(*shape, dtype=dtype))
                    self.agrees(*tensors, randn(*shape) > -1)

    def test_float64_and_gradients_go_to_torch(self):
        self.agrees(*(tensor.double() for tensor in operands()))
        tensors = [tensor.float().requires_grad_() for tensor in operands()]
        attention(*tensors, scale=SCALE).sum().backward()
        self.assertTrue(all(tensor.grad.isfinite().all() for tensor in tensors))

    def test_autocast(self):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            self.assertEqual(attention(*operands(dtype=torch.float32), scale=SCALE).dtype, torch.bfloat16)

    def test_same_bits_every_time(self):
        for dtype in DTYPES:
            tensors = operands(dtype=dtype)
            first = attention(*tensors, scale=SCALE)
            for _ in range(5):
                self.assertTrue(torch.equal(first, attention(*tensors, scale=SCALE)))

    def test_the_current_stream(self):
        """Work queued on a stream of its own must be waited for by nothing else, and must wait for what came before."""
        stream = torch.cuda.Stream()
        query, key, value = operands()
        expected = attention(query * 2, key, value, scale=SCALE)
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            delayed = query.clone()
            torch.cuda._sleep(20_000_000)
            delayed.mul_(2)
            output = attention(delayed, key, value, scale=SCALE)
        stream.synchronize()
        self.assertTrue(torch.equal(output, expected))

    def test_graph_capture(self):
        query, key, value = operands()
        expected = attention(query, key, value, scale=SCALE)
        attention(query, key, value, scale=SCALE)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = attention(query, key, value, scale=SCALE)
        output.zero_()
        graph.replay()
        torch.cuda.synchronize()
        self.assertTrue(torch.equal(output, expected))

    def test_our_kernels_run(self):
        record = torch.ops.flashconvert.kernels_used
        seen = record(True)
        for dtype in DTYPES:
            attention(*operands(dtype=dtype), scale=SCALE)
            names = record(True)
            self.assertEqual(len(names), 1)
            self.assertFalse(names[0].startswith("torch:"), names)
            seen += names
        del seen


if __name__ == "__main__":
    unittest.main()
