"""What a model's result is beside its values: how it lies in memory, and its dtype. The fused form keeps both."""

import pathlib
import tempfile
import unittest

import torch
import torch.nn.functional as F
from conversion import convert, load_operators
from torch import Tensor, nn


class CrossAttention(nn.Module):
    """Off its fast path, the layer works length first and gives a view of that."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.attention(x, y, y, need_weights=False)[0]


class LengthFirst(CrossAttention):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4)


class Projected(CrossAttention):
    """A norm makes its own layout: nothing sees the layer's."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.norm(self.attention(x, y, y, need_weights=False)[0])


class TransposedProduct(nn.Module):
    """(V' P')' lies in memory as its transpose does, which a flatten that needs no copy shows."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        p = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1)
        return (v.transpose(-2, -1) @ p.transpose(-2, -1)).transpose(-2, -1).permute(0, 2, 1, 3).flatten(2)


class ProjectedTransposedProduct(nn.Module):
    """The same with projections, which may not become one module with it."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        projected = (self.q(x), self.k(y), self.v(y))
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in projected)
        p = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1)
        o = (v.transpose(-2, -1) @ p.transpose(-2, -1)).transpose(-2, -1)
        return o.transpose(1, 2).reshape(x.size(0), x.size(1), 16)


class LengthFirstHeads(nn.Module):
    """A reshape that copies what a product gives, and would be a view of what the operator gives."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        p = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1)
        return (p @ v).permute(2, 0, 1, 3).reshape(x.size(1), x.size(0), 16)


class BatchFirstHeads(nn.Module):
    """The same strides either way."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        p = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1)
        return (p @ v).permute(0, 2, 1, 3).reshape(x.size(0), x.size(1), 16)


class Rotated(nn.Module):
    """Angles from an arange are of float32: so are queries and keys of any model, but values are not."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        q = q * torch.cos(torch.arange(x.size(1))[:, None] * 0.1)
        k = k * torch.cos(torch.arange(y.size(1))[:, None] * 0.1)
        p = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1).to(v.dtype)
        return (p @ v).transpose(1, 2).reshape(x.size(0), x.size(1), 16)


class NarrowQueries(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        p = torch.softmax(q.to(torch.bfloat16) @ k.to(torch.bfloat16).transpose(-2, -1) * 0.5, -1).to(v.dtype)
        return (p @ v).transpose(1, 2).reshape(x.size(0), x.size(1), 16)


class WrittenTo(nn.Module):
    """Of what a product gives, autograd keeps nothing: it may be written to."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        o = torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1) @ v
        o[:, :, :, 0].mul_(2.0)
        return o.transpose(1, 2).reshape(x.size(0), x.size(1), 16)


class NarrowCast(nn.Module):
    """Values that the code itself casts, beside scores in float64."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        v = v.to(torch.float32)
        p = torch.softmax((q @ k.transpose(-2, -1) * 0.5).float(), -1).to(v.dtype)
        return (p @ v).transpose(1, 2).reshape(x.size(0), x.size(1), 16)


class OddMask(nn.Module):
    """A mask of one dimension, and of another dtype than the scores."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        mask = y[0, :, 0].to(torch.float16)
        p = torch.softmax(q @ k.transpose(-2, -1) * 0.5 + mask, -1)
        return (p @ v).transpose(1, 2).reshape(x.size(0), x.size(1), 16)


class ViewedInOrder(nn.Module):
    """Beside contiguous queries, torch's operator gives a contiguous result: the model may view it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.reshape(t.size(0), 4, t.size(1), 4) for t in (x, y, y * 0.5))
        return F.scaled_dot_product_attention(q, k, v).view(-1, x.size(1), 4)


class ViewedAcross(nn.Module):
    """Queries, and so the result, are transposed: a view of it back needs no copy, and gets none."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        q, k, v = (t.view(t.size(0), t.size(1), 4, 4).transpose(1, 2) for t in (x, y, y * 0.5))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).view(x.size(0), x.size(1), 16)


class ResultFormTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operators()
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def check(self, model: nn.Module, dtype: torch.dtype, trace: bool, *options: str, atol: float | None = None) -> str:
        source, target = (pathlib.Path(self.folder.name, f"{name}.pt") for name in ("original", "converted"))
        x, y = (torch.randn(2, n, 16, generator=torch.Generator().manual_seed(n)).to(dtype) for n in (5, 7))
        model = model.eval().to(dtype)
        with torch.no_grad():
            original = torch.jit.trace(model, (x, y), check_trace=False) if trace else torch.jit.script(model)
        original.save(source)
        done = convert(source, target, "--force", *options)
        self.assertEqual([site["status"] for site in done.report["attention"]], ["fused"], done.log)
        converted = torch.jit.load(target)
        with torch.no_grad():
            for a, b in ((x, y), (x[:1], y[:1]), (y, x)):
                if isinstance(model, LengthFirst):
                    a, b = a.transpose(0, 1), b.transpose(0, 1)
                expected, given = original(a, b), converted(a, b)
                self.assertEqual((given.dtype, given.stride()), (expected.dtype, expected.stride()))
                torch.testing.assert_close(given, expected, atol=atol, rtol=atol)
        return converted.code

    def test_layers_off_their_fast_path(self):
        self.assertIn("movedim", self.check(CrossAttention(), torch.float32, False))
        self.check(LengthFirst(), torch.float32, False)

    def test_what_nothing_sees_costs_nothing(self):
        self.assertNotIn("movedim", self.check(Projected(), torch.float32, False))

        self.assertNotIn("contiguous", self.check(BatchFirstHeads(), torch.float32, True))

    def test_reshapes_that_may_be_views(self):
        self.check(TransposedProduct(), torch.float32, True)
        self.check(ProjectedTransposedProduct(), torch.float32, True)
        self.assertIn("contiguous", self.check(LengthFirstHeads(), torch.float32, True))

    def test_queries_that_are_wider_than_values(self):
        for dtype in (torch.float32, torch.bfloat16):
            for options in ((), ("--backend", "portable")):
                with self.subTest(dtype=dtype, options=options):
                    self.check(Rotated(), dtype, True, *options, atol=2e-2 if dtype == torch.bfloat16 else None)

    def test_views_of_what_torch_s_operator_gives(self):
        self.assertIn("contiguous", self.check(ViewedInOrder(), torch.float32, True))
        self.assertNotIn("contiguous", self.check(ViewedAcross(), torch.float32, True))

    def test_values_that_are_narrower_than_queries(self):
        for options in ((), ("--backend", "portable")):
            with self.subTest(options=options):
                self.check(NarrowCast(), torch.float64, True, *options)

    def test_queries_that_are_narrower_than_values(self):
        for options in ((), ("--backend", "portable")):
            with self.subTest(options=options):
                self.check(NarrowQueries(), torch.float32, True, *options, atol=2e-2)

    def test_a_result_that_is_written_to(self):
        self.check(WrittenTo(), torch.float32, True)
        gradients = []
        for name in ("original", "converted"):
            x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
            torch.jit.load(pathlib.Path(self.folder.name, f"{name}.pt"))(x * 1.0, x * 2.0).sum().backward()
            gradients.append(x.grad)
        torch.testing.assert_close(gradients[1], gradients[0])

    def test_masks_of_another_dtype_and_of_few_dimensions(self):
        for dtype in (torch.float32, torch.float64):
            for options in ((), ("--backend", "portable")):
                with self.subTest(dtype=dtype, options=options):
                    self.check(OddMask(), dtype, True, *options)


if __name__ == "__main__":
    unittest.main()
