"""flashconvert::linear: what it computes on the CPU, its checks, and everything that torch puts around an operator.
Environment: FLASHCONVERT_OPS."""

import itertools
import unittest

import torch

from operator_reference import load_operator

load_operator()
linear = torch.ops.flashconvert.linear
torch.set_num_threads(1)
ACTIVATIONS = {"none": lambda x: x, "gelu": torch.nn.functional.gelu, "relu": torch.relu, "silu": torch.nn.functional.silu,
               "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh")}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def operands(*batch, in_features=24, out_features=17, dtype=torch.float32):
    generator = torch.Generator().manual_seed(len(batch) + in_features)
    randn = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    return randn(*batch, in_features), randn(out_features, in_features), randn(out_features)


class Values(unittest.TestCase):
    def test_as_torch(self):
        for dtype, batch, has_bias in itertools.product(DTYPES, ((), (5,), (2, 3), (2, 0, 3), (2, 3, 4)), (False, True)):
            input, weight, bias = operands(*batch, dtype=dtype)
            bias = bias if has_bias else None
            with self.subTest(dtype=dtype, batch=batch, bias=has_bias):
                result = linear(input, weight, bias)
                self.assertTrue(torch.equal(result, torch.nn.functional.linear(input, weight, bias)))

    def test_strides(self):
        input, weight, bias = operands(6, 4, in_features=30)
        for view in (input.transpose(0, 1), input[::2], input[..., :1].expand(6, 4, 30)):
            self.assertTrue(torch.allclose(linear(view, weight, bias), torch.nn.functional.linear(view, weight, bias)))
        transposed = weight.t().contiguous().t()
        self.assertTrue(torch.allclose(linear(input, transposed), torch.nn.functional.linear(input, weight), atol=1e-5))


    def test_activations(self):
        for activation, function in ACTIVATIONS.items():
            for dtype, has_bias in itertools.product(DTYPES, (False, True)):
                input, weight, bias = operands(2, 3, dtype=dtype)
                bias = bias if has_bias else None
                with self.subTest(activation, dtype=dtype, bias=has_bias):
                    expected = function(torch.nn.functional.linear(input, weight, bias))
                    self.assertTrue(torch.equal(linear(input, weight, bias, activation=activation), expected))


class Errors(unittest.TestCase):
    def check(self, message, *arguments, **options):
        for device, grad in itertools.product(("cpu", "meta"), (False, True)):
            moved = [argument if argument is None else argument.to(device) for argument in arguments]
            if grad and moved[0].is_floating_point():
                moved[0] = moved[0].clone().requires_grad_()
            with self.subTest(message, device=device, grad=grad):
                self.assertRaisesRegex(RuntimeError, "flashconvert::linear: " + message, linear, *moved, **options)

    def test_messages(self):
        input, weight, bias = operands(3)
        self.check("input must be float16.*given Long", input.long(), weight.long())
        self.check(r"input must have at least 1 dimension.*given \[\]", input[0, 0], weight)
        self.check(r"weight must have 2 dimensions.*given \[17\]", input, weight[:, 0])
        self.check(r"weight must have as many input features as input: expected 24, given 23", input, weight[:, 1:])
        self.check("weight must have the dtype of input: expected Float, given Double", input, weight.double())
        self.check(r"bias must have 1 dimension.*expected \[17\], given \[16\]", input, weight, bias[1:])
        self.check(r"bias must have 1 dimension.*given \[1, 17\]", input, weight, bias[None])
        self.check("bias must have the dtype of input: expected Float, given Half", input, weight, bias.half())

        self.check("activation must be none, gelu, gelu_tanh, relu or silu; given swish", input, weight, activation="swish")

    def test_device(self):
        input, weight, bias = operands(3)
        for arguments, name in (((input, weight.to("meta")), "weight"), ((input, weight, bias.to("meta")), "bias")):
            with self.assertRaisesRegex(RuntimeError, f"{name} must be on the device of input: expected cpu, given meta"):
                linear(*arguments)


class Modes(unittest.TestCase):
    def test_meta(self):
        for batch, dtype in itertools.product(((), (5,), (2, 3, 4)), DTYPES):
            tensors = operands(*batch, dtype=dtype)
            real = linear(*tensors)
            meta = linear(*[tensor.to("meta") for tensor in tensors])
            self.assertEqual((real.shape, real.dtype, real.stride()), (meta.shape, meta.dtype, meta.stride()))

    def test_gradients(self):
        tensors = [tensor.requires_grad_() for tensor in operands(2, 3, dtype=torch.float64)]
        self.assertTrue(torch.autograd.gradcheck(linear, tensors))
        self.assertTrue(torch.autograd.gradcheck(linear, tensors[:2]))
        for activation in ("gelu", "gelu_tanh", "silu"):
            self.assertTrue(torch.autograd.gradcheck(lambda *each: linear(*each, activation=activation), tensors))
        with torch.no_grad():
            self.assertFalse(linear(*tensors).requires_grad)

    def test_autocast(self):
        tensors = operands(4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result, theirs = linear(*tensors), torch.nn.functional.linear(*tensors)
        self.assertEqual(result.dtype, torch.bfloat16)
        self.assertTrue(torch.equal(result, theirs))

    def test_script(self):
        @torch.jit.script
        def function(input, weight, bias: torch.Tensor):
            plain = torch.ops.flashconvert.linear(input, weight)
            return plain + torch.ops.flashconvert.linear(input, weight, bias, activation="relu")

        input, weight, bias = operands(4)
        expected = input @ weight.t() + (input @ weight.t() + bias).relu()
        self.assertTrue(torch.allclose(function(input, weight, bias), expected, atol=1e-5))

    def test_kernels_used(self):
        torch.ops.flashconvert.kernels_used(True)
        linear(*operands(4))
        self.assertEqual(torch.ops.flashconvert.kernels_used(True), ["torch: linear"])

    def test_in_place_changes_are_seen(self):
        input, weight, bias = operands(20)
        linear(input, weight, bias)
        weight.mul_(2)
        bias.add_(1)
        self.assertTrue(torch.equal(linear(input, weight, bias), torch.nn.functional.linear(input, weight, bias)))


if __name__ == "__main__":
    unittest.main()
