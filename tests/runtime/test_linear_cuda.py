"""flashconvert::linear on CUDA, against float64 on the same device and against torch in float32. Skips where there is no
GPU. Environment: FLASHCONVERT_OPS."""

import unittest

import torch

from operator_reference import load_operator
from test_linear import ACTIVATIONS

load_operator()
linear = torch.ops.flashconvert.linear
LARGEST_RATIO = 1.25


def randn(*shape):
    return torch.randn(*shape, device="cuda")


def kernels_used():
    return torch.ops.flashconvert.kernels_used(True)


@unittest.skipUnless(torch.cuda.is_available(), "no CUDA device")
class Cuda(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = False
        kernels_used()

    def agrees(self, input, weight, bias=None, activation="none"):
        def torchs(*operands):
            return ACTIVATIONS[activation](torch.nn.functional.linear(*operands))

        exact = torchs(input.double(), weight.double(), None if bias is None else bias.double())
        kernels_used()
        result = linear(input, weight, bias, activation=activation)
        names = kernels_used()
        if torch.cuda.get_device_capability() == (9, 0):
            self.assertTrue(all(name.startswith("sm90-f16x3-linear-") for name in names) and names, names)
        ours, theirs = ((each.double() - exact).abs() for each in (result, torchs(input, weight, bias)))
        self.assertLessEqual(ours.mean(), theirs.mean())
        self.assertLessEqual(ours.max(), LARGEST_RATIO * theirs.max())

    def test_shapes(self):
        for batch, features, out_features in (((300,), 768, 768), ((4, 50), 512, 1000), ((2, 3, 70), 257, 133),
                                              ((40,), 1000, 65), ((33,), 256, 64)):
            for bias in (None, randn(out_features)):
                with self.subTest(batch=batch, features=features, out_features=out_features, bias=bias is not None):
                    input, weight = randn(*batch, features), randn(out_features, features)
                    self.agrees(input, weight, bias)
                    self.assertEqual(linear(input, weight, bias).shape, (*batch, out_features))

    def test_activations(self):
        for activation in ACTIVATIONS:
            for rows in (40, 1000):
                with self.subTest(activation, rows=rows):
                    self.agrees(randn(rows, 512), randn(768, 512) * 512**-0.5, randn(768), activation)

    def test_what_is_left_to_torch(self):
        for batch, features, out_features in (((7,), 768, 768), ((300,), 100, 768), ((300,), 768, 10), ((0, 5), 768, 100)):
            kernels_used()
            self.assertEqual(linear(randn(*batch, features), randn(out_features, features)).shape, (*batch, out_features))
            self.assertEqual(kernels_used(), ["torch: linear"])

    def test_strides(self):
        self.agrees(randn(300, 500).t(), randn(77, 300))
        self.agrees(randn(300, 300), randn(300, 77).t())
        self.agrees(randn(300, 401)[:, 1:], randn(77, 400))
        self.agrees(randn(1, 400).expand(300, 400), randn(77, 400))

    @unittest.skipUnless(torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0), "not Hopper")
    def test_which_kernel(self):
        def kernel(rows, dtype=torch.float32):
            linear(randn(rows, 768).to(dtype), randn(768, 768).to(dtype))
            (name,) = kernels_used()
            return name

        self.assertTrue(kernel(256).startswith("sm90-f16x3-linear-"))
        self.assertEqual(kernel(8), "torch: linear")
        self.assertEqual(kernel(256, torch.float16), "torch: linear")
        torch.backends.cuda.matmul.allow_tf32 = True
        self.assertEqual(kernel(256), "torch: linear")

    def test_changes_of_the_weight_are_seen(self):
        input, weight = randn(256, 768), randn(768, 768)
        graph = torch.cuda.CUDAGraph()
        linear(input, weight)
        with torch.cuda.graph(graph):
            result = linear(input, weight)
        for _ in range(2):
            weight.normal_()
            graph.replay()
            self.assertTrue(torch.equal(result, linear(input, weight)))

    def test_streams(self):
        input, weight = randn(256, 768), randn(768, 768)
        expected = linear(input, weight)
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            self.assertTrue(torch.equal(linear(input, weight), expected))

    def test_infinities_and_nan(self):
        input, weight = randn(128, 768), randn(96, 768)
        input[5, 7], input[9, 9], weight[3, 1], weight[4, 7] = torch.inf, torch.nan, -torch.inf, 0
        ours, theirs = linear(input, weight), torch.nn.functional.linear(input, weight)
        for of in (torch.isnan, torch.isposinf, torch.isneginf):
            self.assertTrue(torch.equal(of(ours), of(theirs)))


if __name__ == "__main__":
    unittest.main()
