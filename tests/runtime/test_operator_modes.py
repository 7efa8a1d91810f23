"""flashconvert::attention under everything that torch puts around an operator: gradients, autocast, Meta and fake
tensors, TorchScript with its passes, and the ways to load the library. Environment: FLASHCONVERT_OPS."""

import itertools
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

import torch

from operator_reference import LIBRARY, expected_strides, load_operator, reference

attention = load_operator()
torch.set_num_threads(1)


def operands(dtype=torch.float32, key_heads=2, **kwargs):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 3, 8), (2, key_heads, 5, 8), (2, key_heads, 5, 8))
    return [torch.randn(*shape, generator=generator, dtype=dtype, **kwargs) for shape in shapes]


class Meta(unittest.TestCase):
    def test_shape_dtype_and_strides_are_the_real_ones(self):
        shapes = ((5, 8), (3, 5, 8), (2, 3, 5, 8), (2, 1, 5, 8), (2, 3, 1, 8), (1, 1, 1, 8), (2, 2, 3, 5, 8), (2, 3, 0, 8))
        for shape, dtype, grad in itertools.product(shapes, (torch.float32, torch.bfloat16), (False, True)):
            real = torch.randn(*shape).to(dtype).requires_grad_(grad)
            for options in (dict(), dict(softcap=2.0)):
                output = attention(real, real, real, scale=1.0, **options)
                meta = attention(*[real.to("meta")] * 3, scale=1.0, **options)
                with self.subTest(shape=shape, dtype=dtype, grad=grad, **options):
                    self.assertEqual((output.shape, output.dtype, output.stride()),
                                     (meta.shape, meta.dtype, meta.stride()))
                    self.assertEqual(output.stride(), expected_strides(shape))

    def test_errors(self):
        meta = torch.empty(2, 3, 5, 8, device="meta")
        with self.assertRaisesRegex(RuntimeError, "as many features"):
            attention(meta, meta[..., :4], meta, scale=1.0)


class Gradients(unittest.TestCase):
    OPTIONS = (dict(), dict(causal=True), dict(causal=True, bottom_right=True), dict(softcap=2.0), dict(window=(2, 1)),
               dict(zero_masked_rows=True))

    def test_gradcheck(self):
        for options in self.OPTIONS:
            tensors = [tensor.requires_grad_() for tensor in operands(torch.float64)]
            mask = torch.ones(2, 1, 3, 5, dtype=torch.bool)
            mask[..., 2:] = False
            bias = torch.randn(1, 4, 3, 5, dtype=torch.float64, requires_grad=True)
            with self.subTest(**options):
                self.assertTrue(torch.autograd.gradcheck(lambda *t: attention(*t, scale=0.4, **options), tensors))
                self.assertTrue(torch.autograd.gradcheck(lambda *t: attention(*t, mask, scale=0.4, **options), tensors))
                self.assertTrue(torch.autograd.gradcheck(lambda *t: attention(*t, scale=0.4, **options),
                                                         [*tensors, bias]))

    def test_same_values_with_and_without_gradients(self):
        for dtype, options in itertools.product((torch.float32, torch.bfloat16, torch.float16), self.OPTIONS):
            tensors = operands(dtype)
            with torch.no_grad():
                plain = attention(*tensors, scale=0.4, **options)
            with torch.inference_mode():
                inference = attention(*tensors, scale=0.4, **options)
            recorded = attention(*[tensor.requires_grad_() for tensor in tensors], scale=0.4, **options)
            self.assertTrue(torch.equal(plain, inference))
            self.assertLessEqual((plain - recorded).abs().max().item(), 4 * torch.finfo(dtype).eps)

    def test_history_is_recorded_exactly_where_it_is_needed(self):
        for which in range(4):
            tensors = [*operands(), torch.zeros(3, 5)]
            self.assertFalse(attention(*tensors, scale=1.0).requires_grad)
            tensors[which].requires_grad_()
            self.assertTrue(attention(*tensors, scale=1.0).requires_grad)
            with torch.no_grad():
                self.assertFalse(attention(*tensors, scale=1.0).requires_grad)

    def test_gradients_of_the_reference(self):
        tensors = [tensor.requires_grad_() for tensor in operands()]
        attention(*tensors, scale=0.4, softcap=3.0).sin().sum().backward()
        doubles = [tensor.detach().double().requires_grad_() for tensor in tensors]
        key, value = (tensor.repeat_interleave(2, 1) for tensor in doubles[1:])
        scores = torch.tanh(doubles[0] @ key.mT * 0.4 / 3.0) * 3.0
        (scores.softmax(-1) @ value).sin().sum().backward()
        for tensor, double in zip(tensors, doubles):
            self.assertLess((tensor.grad - double.grad).abs().max().item(), 1e-5)

    def test_gradients_past_masked_rows_are_those_of_a_softmax(self):
        visible = torch.ones(3, 5, dtype=torch.bool)
        visible[1] = False
        additive = torch.zeros(3, 5, dtype=torch.float64).masked_fill(~visible, float("-inf"))
        plain = [tensor.requires_grad_() for tensor in operands(torch.float64, key_heads=4)]
        scores = plain[0] @ plain[1].mT * 0.4 + additive
        (scores.softmax(-1) @ plain[2])[:, :, [0, 2]].sum().backward()
        for bias in (visible, additive):
            with self.subTest(dtype=bias.dtype):
                tensors = [tensor.requires_grad_() for tensor in operands(torch.float64, key_heads=4)]
                attention(*tensors, bias, scale=0.4)[:, :, [0, 2]].sum().backward()
                for tensor, expected in zip(tensors, plain):
                    self.assertTrue(expected.grad.isnan().any())
                    torch.testing.assert_close(tensor.grad, expected.grad, equal_nan=True)
                tensors = [tensor.requires_grad_() for tensor in operands(torch.float64)]
                attention(*tensors, bias, scale=0.4, zero_masked_rows=True)[:, :, [0, 2]].sum().backward()
                self.assertFalse(any(tensor.grad.isnan().any() for tensor in tensors))

    def test_masked_rows_with_gradients(self):
        tensors = [tensor.requires_grad_() for tensor in operands()]
        mask = torch.zeros(3, 5, dtype=torch.bool)
        mask[0] = True
        for bias in (mask, torch.zeros(3, 5).masked_fill(~mask, float("-inf"))):
            self.assertEqual(attention(*tensors, bias, scale=1.0).isnan().sum().item(), 2 * 4 * 2 * 8)
            self.assertFalse(attention(*tensors, bias, scale=1.0, zero_masked_rows=True).isnan().any())


class Autocast(unittest.TestCase):
    def test_dtypes_are_those_of_scaled_dot_product_attention(self):
        for autocast, dtype in itertools.product((torch.bfloat16, torch.float16), (torch.float32, torch.float64, torch.bfloat16)):
            tensors = operands(dtype, key_heads=4)
            with torch.autocast("cpu", dtype=autocast):
                expected = torch.nn.functional.scaled_dot_product_attention(*tensors)
                self.assertEqual(attention(*tensors, scale=0.35).dtype, expected.dtype)

    def test_mixed_operands_and_a_bias_that_is_not_rounded(self):
        query, key, value = operands(key_heads=4)
        bias = torch.full((3, 5), torch.finfo(torch.float32).min)
        with torch.autocast("cpu", dtype=torch.float16):
            output = attention(query, key.half(), value.bfloat16(), bias, scale=1.0)
        self.assertEqual(output.dtype, torch.float16)
        self.assertFalse(output.isnan().any())
        with torch.autocast("cpu", enabled=False), self.assertRaisesRegex(RuntimeError, "dtype of query"):
            attention(query, key.half(), value, scale=1.0)

    def test_gradients(self):
        tensors = [tensor.requires_grad_() for tensor in operands()]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attention(*tensors, scale=0.4).float().sum().backward()
        self.assertEqual([tensor.grad.dtype for tensor in tensors], [torch.float32] * 3)


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = torch.nn.Linear(8, 8)

    def forward(self, x, bias):
        # type: (Tensor, Tensor) -> Tensor
        output = torch.ops.flashconvert.attention(self.projection(x), x, x, bias, scale=0.3, causal=True)
        return output.transpose(1, 2).flatten(2)


class Compile(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.module = Module()
        self.inputs = (torch.randn(2, 4, 5, 8), torch.randn(1, 1, 5, 5))
        self.expected = self.module(*self.inputs)

    def test_compile(self):
        for mode in (torch.no_grad, torch.enable_grad, torch.inference_mode):
            torch._dynamo.reset()
            with mode():
                output = torch.compile(self.module, backend="aot_eager", fullgraph=True)(*self.inputs)
            self.assertLess((output - self.expected).abs().max().item(), 1e-5)

    def test_export(self):
        program = torch.export.export(self.module, self.inputs)
        self.assertLess((program.module()(*self.inputs) - self.expected).abs().max().item(), 1e-5)


class TorchScript(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.module = Module().eval()
        self.inputs = (torch.randn(2, 4, 5, 8), torch.randn(1, 1, 5, 5))
        self.expected = self.module(*self.inputs).detach()

    def agrees(self, module, inputs=None, tolerance=1e-5):
        for _ in range(3):  # the profiling executor specialises on the second call
            output = module(*(self.inputs if inputs is None else inputs))
            self.assertLess((output.float() - self.expected).abs().max().item(), tolerance)

    def test_script_and_trace(self):
        self.agrees(torch.jit.script(self.module))
        self.agrees(torch.jit.trace(self.module, self.inputs))

    def test_passes(self):
        for make in (torch.jit.script, lambda module: torch.jit.trace(module, self.inputs)):
            frozen = torch.jit.freeze(make(self.module).eval())
            self.assertIn("flashconvert::attention", str(frozen.graph))
            self.agrees(frozen)
            self.agrees(torch.jit.optimize_for_inference(make(self.module).eval()))

    def test_half(self):
        for dtype in (torch.float16, torch.bfloat16):
            module = torch.jit.script(self.module).to(dtype)
            self.agrees(module, [tensor.to(dtype) for tensor in self.inputs], 0.05)
            self.module.float()

    def test_python_free_default_arguments(self):
        @torch.jit.script
        def function(x: torch.Tensor):
            return torch.ops.flashconvert.attention(x, x, x, scale=1.0)

        x = self.inputs[0]
        self.assertTrue(torch.equal(function(x), attention(x, x, x, scale=1.0)))


class Loading(unittest.TestCase):
    """A checkpoint in fresh processes that load the library in one way or another, or not."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = str(pathlib.Path(cls.folder.name) / "model.pt")
        torch.manual_seed(0)
        module = Module().eval()
        inputs = (torch.randn(2, 4, 5, 8), torch.randn(1, 1, 5, 5))
        torch.jit.script(module).save(cls.path)
        cls.inputs = str(pathlib.Path(cls.folder.name) / "inputs.pt")
        torch.save((inputs, module(*inputs).detach()), cls.inputs)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def load(self, load_library, **environment):
        program = textwrap.dedent(f"""
            import torch
            {load_library}
            inputs, expected = torch.load({self.inputs!r})
            output = torch.jit.load({self.path!r})(*inputs)
            print("difference", (output - expected).abs().max().item() < 1e-5)
        """)
        return subprocess.run([sys.executable, "-c", program], env={**os.environ, **environment}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def assert_works(self, result):
        self.assertEqual((result.returncode, result.stdout.strip().splitlines()[-1:]), (0, ["difference True"]),
                         result.stdout)

    def test_torch_ops_load_library(self):
        self.assert_works(self.load(f"torch.ops.load_library({LIBRARY!r})"))

    def test_dlopen(self):
        self.assert_works(self.load(f"import ctypes; ctypes.CDLL({LIBRARY!r})"))

    def test_preload_under_a_program_that_does_not_know_it(self):
        libraries = str(pathlib.Path(torch.__file__).parent / "lib")
        self.assert_works(self.load("", LD_PRELOAD=LIBRARY, LD_LIBRARY_PATH=libraries))

    def test_without_the_library(self):
        result = self.load("")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("Unknown builtin op: flashconvert::attention", result.stdout)


if __name__ == "__main__":
    unittest.main()
