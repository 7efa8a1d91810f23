"""--backend portable: torch's own operator in the place of ours, and what it gives for rows that see no key."""

import unittest

import torch

from program import ProgramTest

INFINITY = float("inf")


class Masked(torch.nn.Module):
    """Attention with a mask that each subclass applies in its own way, by `masked(scores, mask)`."""

    def __init__(self, length: int = 6):
        super().__init__()
        self.qkv = torch.nn.Linear(16, 48)
        self.out = torch.nn.Linear(16, 16)
        self.register_buffer("causal", torch.ones(length, length).tril() == 0)

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], 2, 8).transpose(1, 2)

    def forward(self, x, mask):
        q, k, v = self.qkv(x).chunk(3, 2)
        scores = self.masked(self.split(q) @ self.split(k).transpose(-2, -1) * 0.4, mask)
        heads = torch.softmax(scores, -1) @ self.split(v)
        return self.out(heads.transpose(1, 2).reshape(x.shape))


class Hidden(Masked):
    def masked(self, scores, mask):
        return scores.masked_fill(mask[:, None, None] > 0.5, -INFINITY)


class Added(Masked):
    def masked(self, scores, mask):
        return scores + mask[:, None, None]


class Finite(Masked):
    def masked(self, scores, mask):
        return scores.masked_fill(mask[:, None, None] > 0.5, -1e9)


class Causal(Masked):
    def masked(self, scores, mask):
        length = scores.shape[-1]
        return scores.masked_fill(self.causal[:length, :length], -INFINITY)


class CausalFromTheEnd(Masked):
    """Cuts the mask's keys from the second on: the first query sees none of them."""

    def masked(self, scores, mask):
        length = scores.shape[-1]
        return scores.masked_fill(self.causal[:length, 1 : length + 1], -INFINITY)


class CausalAndHidden(Causal):
    def masked(self, scores, mask):
        return super().masked(scores, mask).masked_fill(mask[:, None, None] > 0.5, -INFINITY)


class OnDevice(Masked):
    """A trace writes the device on which a tensor was made into the code."""

    def masked(self, scores, mask):
        length = scores.shape[-1]
        later = torch.arange(length, device="cpu")[:, None] <= torch.arange(length, device="cpu")
        return scores.masked_fill(later, -INFINITY)


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x, padding):
        return self.attention(x, x, x, padding, need_weights=False)[0]


class FixedCausal(Masked):
    """A causal mask of the one length that the model takes."""

    def __init__(self):
        super().__init__(length=5)

    def masked(self, scores, mask):
        return scores.masked_fill(self.causal, -INFINITY)


class Table(Masked):
    """A bias of the model's own for each head and distance."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(2, 12))
        self.register_buffer("distance", torch.arange(6)[:, None] - torch.arange(6) + 6)

    def masked(self, scores, mask):
        length = scores.shape[-1]
        return scores + self.table[:, self.distance[:length, :length]]


class Joined(Masked):
    """Batch and heads in one dimension."""

    def split(self, x):
        return super().split(x).reshape(x.shape[0] * 2, x.shape[1], 8)

    def masked(self, scores, mask):
        return scores

    def forward(self, x, mask):
        q, k, v = self.qkv(x).chunk(3, 2)
        scores = self.masked(torch.bmm(self.split(q), self.split(k).transpose(1, 2)) * 0.4, mask)
        heads = torch.bmm(torch.softmax(scores, -1), self.split(v)).view(x.shape[0], 2, x.shape[1], 8)
        return self.out(heads.transpose(1, 2).reshape(x.shape))


class JoinedHidden(Joined):
    def masked(self, scores, mask):
        heads = mask[:, None, None].expand(-1, 2, -1, -1).reshape(scores.shape[0], 1, scores.shape[2])
        return scores.masked_fill(heads > 0.5, -INFINITY)


class Windows(Masked):
    """The batch holds windows of images, and each window of an image has a mask of its own, as Swin has it."""

    def masked(self, scores, mask):
        length = scores.shape[-1]
        images = scores.view(scores.shape[0] // mask.shape[0], mask.shape[0], 2, length, length)
        return (images + mask[None, :, None, None]).view(-1, 2, length, length)


class FiveDimensions(Masked):
    def split(self, x):
        return x.view(x.shape[0], 1, x.shape[1], 2, 8).transpose(2, 3)

    def forward(self, x, mask):
        q, k, v = self.qkv(x).chunk(3, 2)
        heads = torch.softmax(self.split(q) @ self.split(k).transpose(-2, -1), -1) @ self.split(v)
        return self.out(heads.transpose(2, 3).reshape(x.shape))


def operators_run(model, *inputs):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        model(*inputs)
    return {event.name for event in profile.events()}


class Portable(ProgramTest):
    def converted(self, model, depth="module"):
        """The model, its portable conversion and the code that its attention runs."""
        torch.manual_seed(0)
        source = self.folder / "in.pt"
        x = torch.randn(2, 5, 16)
        traced = torch.jit.trace(model.eval(), (x, torch.zeros(2, 5)))
        traced.save(str(source))
        report = self.report(source, self.output, "--backend", "portable", "--force", "--verify", "--device", "cpu")
        site = report["attention"][0]
        self.assertEqual((site["status"], site["depth"]), ("fused", depth), site)
        self.assertEqual(report["operators"]["needed"], [])
        other = torch.jit.load(str(self.output))
        return traced, other, other.attention.code if depth == "module" else other.code

    def assert_equal(self, one, other, mask):
        x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))
        expected = one(x, mask)
        torch.testing.assert_close(other(x, mask), expected, equal_nan=True)
        return expected

    def test_rows_that_minus_infinity_hides_are_nan(self):
        for model, hidden in ((Hidden(), 1.0), (Added(), -INFINITY)):
            with self.subTest(model=type(model).__name__):
                one, other, code = self.converted(model)
                self.assertIn("nan_in_hidden_rows", code)
                mask = torch.zeros(2, 5)
                mask[0, 3:] = hidden
                self.assertFalse(self.assert_equal(one, other, mask).isnan().any())
                mask[1] = hidden
                expected = self.assert_equal(one, other, mask)
                self.assertTrue(expected[1].isnan().all())
                self.assertFalse(expected[0].isnan().any())

    def test_rows_that_a_finite_number_hides_are_uniform_and_cost_nothing(self):
        one, other, code = self.converted(Finite())
        self.assertNotIn("nan_in_hidden_rows", code)
        mask = torch.zeros(2, 5)
        mask[1] = 1.0
        self.assertFalse(self.assert_equal(one, other, mask).isnan().any())

    def test_a_mask_of_known_values_that_hides_no_row_costs_nothing(self):
        one, other, code = self.converted(FixedCausal())
        self.assertNotIn("nan_in_hidden_rows", code)
        self.assert_equal(one, other, torch.zeros(2, 5))

    def test_a_causal_mask_alone_hides_no_row_and_costs_nothing(self):
        one, other, code = self.converted(Causal())
        self.assertNotIn("nan_in_hidden_rows", code)
        self.assert_equal(one, other, torch.zeros(2, 5))

    def test_a_table_of_the_model_hides_no_row_and_costs_nothing(self):
        one, other, code = self.converted(Table(), "core")
        self.assertNotIn("nan_in_hidden_rows", code)
        self.assert_equal(one, other, torch.zeros(2, 5))

    def test_a_table_that_holds_minus_infinity_may_hide_rows(self):
        model = Table()
        model.table.data[1, :] = -INFINITY
        one, other, code = self.converted(model, "core")
        self.assertIn("nan_in_hidden_rows", code)
        self.assertTrue(self.assert_equal(one, other, torch.zeros(2, 5)).isnan().all())

    def test_torch_runs_its_fused_kernel_whatever_the_layout(self):
        """It takes four dimensions alone; its composite for others is slower than what was replaced."""
        cases = (Joined(), "module"), (JoinedHidden(), "core"), (Windows(), "core"), (Table(), "core")
        for model, depth in cases:
            with self.subTest(model=type(model).__name__):
                one, other, _ = self.converted(model, depth)
                mask = torch.zeros(2, 5)
                self.assert_equal(one, other, mask)
                operators = operators_run(other, torch.randn(2, 5, 16), mask)
                self.assertIn("aten::_scaled_dot_product_flash_attention_for_cpu", operators)

    def test_rows_are_nan_in_every_layout(self):
        for model, hidden in ((JoinedHidden(), 1.0), (Windows(), -INFINITY)):
            with self.subTest(model=type(model).__name__):
                one, other, code = self.converted(model, "core")
                self.assertIn("nan_in_hidden_rows", code)
                mask = torch.zeros(2, 5)
                mask[1] = hidden
                expected = self.assert_equal(one, other, mask)
                self.assertTrue(expected[1].isnan().all())
                self.assertFalse(expected[0].isnan().any())

    def test_five_dimensions_are_left_to_the_model(self):
        source = self.folder / "in.pt"
        torch.jit.trace(FiveDimensions().eval(), (torch.randn(2, 5, 16), torch.zeros(2, 5))).save(str(source))
        report = self.report(source, self.output, "--backend", "portable")
        self.assertEqual(report["attention"][0]["status"], "declined")
        self.assertIn("four dimensions", report["attention"][0]["reason"])

    def test_a_causal_mask_beside_padding_may_hide_rows(self):
        one, other, code = self.converted(CausalAndHidden(), depth="core")
        self.assertIn("nan_in_hidden_rows", code)
        mask = torch.zeros(2, 5)
        mask[1, :2] = 1.0
        expected = self.assert_equal(one, other, mask)
        self.assertTrue(expected[1, :2].isnan().all())
        self.assertFalse(expected[1, 2:].isnan().any())

    def test_a_cut_that_drops_the_first_key_hides_a_row(self):
        one, other, code = self.converted(CausalFromTheEnd(), depth="core")
        self.assertIn("nan_in_hidden_rows", code)
        self.assertTrue(self.assert_equal(one, other, torch.zeros(2, 5))[:, 0].isnan().all())

    def test_a_mask_made_on_a_named_device_is_probed_on_the_cpu(self):
        model, other, code = self.converted(OnDevice(), depth="core")
        self.assertIn("nan_in_hidden_rows", code)
        self.assertTrue(self.assert_equal(model, other, torch.zeros(2, 5))[:, 0].isnan().all())

    def test_a_scripted_layer_keeps_nan_and_zeros_apart(self):
        """In inference, torch.nn's layer gives NaN on its fast path and zeros off it."""
        source = self.folder / "in.pt"
        torch.manual_seed(0)
        model = torch.jit.script(Layer().eval())
        model.save(str(source))
        report = self.report(source, self.output, "--backend", "portable", "--input-spec", "float32[2,5,16]",
                             "--input-spec", "bool[2,5]", "--verify", "--device", "cpu")  # fmt: skip
        self.assertEqual([site["status"] for site in report["attention"]], ["fused"])
        self.assertEqual(report["operators"]["needed"], [])
        other = torch.jit.load(str(self.output))
        self.assertIn("scaled_dot_product_attention", other.code)
        x = torch.randn(2, 5, 16)
        mask = torch.zeros(2, 5, dtype=torch.bool)
        mask[1] = True
        for gradients in (False, True):
            with self.subTest(gradients=gradients), torch.set_grad_enabled(gradients):
                expected = model(x, mask)
                torch.testing.assert_close(other(x, mask), expected, equal_nan=True)
                self.assertEqual(expected[1].isnan().all().item(), not gradients)

    def test_it_survives_half_precision_and_freezing(self):
        one, other, _ = self.converted(Hidden())
        frozen = torch.jit.freeze(other.eval())
        mask = torch.zeros(2, 5)
        mask[1] = 1.0
        self.assert_equal(one, frozen, mask)
        x = torch.randn(2, 5, 16).to(torch.bfloat16)
        result = other.to(torch.bfloat16)(x, mask.to(torch.bfloat16))
        self.assertTrue(result[1].isnan().all())
        self.assertFalse(result[0].isnan().any())


if __name__ == "__main__":
    unittest.main()
