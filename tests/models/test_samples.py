"""The sample models, as they lie in sample_models/small: each is converted with --verify and then put through what users
do with a converted checkpoint (sample_models/README.md)."""

import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
from conversion import convert, default_float64, differences, in_float64, load_operators, run_in_cpp
from known_gaps import KNOWN_GAPS

SMALL = pathlib.Path(__file__).resolve().parents[2] / "sample_models" / "small"
WIDTH = 16  # of the checkpoints in small/

# name: attention sites, folded weights, (batch, length) pairs beyond the traced shapes
SAMPLES = {
    "perception": (16, 75, ((1, 2), (3, 5))),
    "padded_encoder": (3, 0, ((1, 1), (2, 17))),
    "rotary_decoder": (3, 0, ((1, 1), (3, 20))),
    "windowed": (4, 0, ((1, 16), (5, 16))),
    "scripted": (4, 0, ((1, 1), (3, 11))),  # scripting makes a module of each place at which a shared layer stands
}


class SampleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operators()
        cls.folder = tempfile.TemporaryDirectory()
        cls.converted = {}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def convert(self, name: str):
        """The sample converted with --verify, once for all tests: its path and report."""
        if name not in self.converted:
            target = pathlib.Path(self.folder.name, f"{name}.pt")
            inputs = SMALL / f"{name}.inputs.pt"
            options = ("--inputs", str(inputs)) if inputs.exists() else ()
            done = convert(SMALL / f"{name}.pt", target, "--verify", *options)
            self.assertEqual(done.exit_code, 0, done.log)
            self.converted[name] = (target, done.report)
        return self.converted[name]

    def test_every_site_is_fused_every_weight_folded_and_parity_proved(self):
        for name, (fused, folded, _) in SAMPLES.items():
            with self.subTest(sample=name):
                report = self.convert(name)[1]
                declined = [site for site in report["attention"] if site["status"] != "fused"]
                if name in KNOWN_GAPS:
                    self.assertNotEqual(declined, [], "closed: take it out of known_gaps.py")
                    self.assertIn(KNOWN_GAPS[name], " ".join(site["reason"] for site in declined))
                else:
                    self.assertEqual(declined, [])
                    self.assertEqual(len(report["attention"]), fused)
                self.assertEqual([fold["status"] for fold in report["folded"]], ["folded"] * folded)
                self.assertTrue(report["parity"]["passed"])
                self.assertTrue(report["parity"]["cases"])

    def test_raw_weights_of_the_perception_model_are_plainly_wrong(self):
        changes = [fold["weight_change"] for fold in self.convert("perception")[1]["folded"]]
        self.assertGreater(min(changes), 0.05)
        self.assertGreater(max(changes), 0.3)

    def test_outputs_are_the_originals_at_every_shape(self):
        for name, (_, _, shapes) in SAMPLES.items():
            sample = importlib.import_module(name)
            target, _ = self.convert(name)
            original, converted = torch.jit.load(SMALL / f"{name}.pt"), torch.jit.load(target)
            reference = sample.make_module(WIDTH).double()
            for arguments in (sample.make_inputs(), *(sample.make_inputs(*shape) for shape in shapes)):
                with self.subTest(sample=name, shape=list(arguments[0].shape)), torch.no_grad():
                    with default_float64():
                        exact = reference(*in_float64(arguments))
                    self.assertEqual(differences(original(*arguments), converted(*arguments), exact), [])

    def test_the_second_method_and_an_absent_mask(self):
        sample = importlib.import_module("scripted")
        target, _ = self.convert("scripted")
        original, converted = torch.jit.load(SMALL / "scripted.pt"), torch.jit.load(target)
        reference = sample.make_module(WIDTH).double()
        x, context, _ = sample.make_inputs()
        with torch.no_grad():
            exact = reference.encode(x.double())
            self.assertEqual(differences(original.encode(x), converted.encode(x), exact), [])
            exact = reference(x.double(), context.double())
            self.assertEqual(differences(original(x, context), converted(x, context), exact), [])
        self.assertEqual(
            converted.reader.norm.weight.data_ptr(), converted.again.norm.weight.data_ptr(), "no longer the same object"
        )

    def test_runs_in_cpp(self):
        for name in SAMPLES:
            with self.subTest(sample=name), torch.no_grad():
                target, _ = self.convert(name)
                arguments = importlib.import_module(name).make_inputs()
                self.assertIsNone(run_in_cpp(target, arguments, torch.jit.load(target)(*arguments)))

    def test_survives_freezing_and_optimising(self):
        for name in SAMPLES:
            target, _ = self.convert(name)
            arguments = importlib.import_module(name).make_inputs()
            for transform in (torch.jit.freeze, torch.jit.optimize_for_inference):
                with self.subTest(sample=name, transform=transform.__name__), torch.no_grad():
                    expected = torch.jit.load(target)(*arguments)
                    actual = transform(torch.jit.load(target).eval())(*arguments)
                    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)

    def test_portable_output_needs_no_library(self):
        for name in SAMPLES:
            with self.subTest(sample=name):
                target = pathlib.Path(self.folder.name, f"{name}.portable.pt")
                done = convert(SMALL / f"{name}.pt", target, "--backend", "portable")
                self.assertEqual(done.exit_code, 0, done.log)
                program = f"import torch, {name} as sample; torch.jit.load({str(target)!r})(*sample.make_inputs())"
                ran = subprocess.run(
                    [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False
                )
                self.assertEqual(ran.returncode, 0, ran.stderr)

    def test_linear_layers_of_a_wide_model(self):
        """As scripts/demo makes it: small/ has no layers of 256 features."""
        source = pathlib.Path(self.folder.name, "wide.pt")
        target = pathlib.Path(self.folder.name, "wide.flash.pt")
        importlib.import_module("perception").export(256).save(str(source))
        done = convert(source, target, "--verify")
        self.assertEqual(done.exit_code, 0, done.log)
        layers = done.report["linear"]
        left = {layer["path"]: layer["reason"] for layer in layers if layer["status"] != "converted"}
        few = ("hand_pose", "hand_contact", "object_pose", "object_class", "action")
        self.assertEqual(left, {"temporal_fusion.arm_proj": "fewer than 256 input features",
                                **{f"{name}": "fewer than 64 output features" for name in few}})
        self.assertEqual(len(layers), 87)
        self.assertIn("gelu", {layer["activation"] for layer in layers})
        original, converted = torch.jit.load(str(source)), torch.jit.load(str(target))
        inputs = importlib.import_module("perception").make_inputs(3)
        with torch.no_grad():
            expected, result = original(*inputs), converted(*inputs)
        for name, tensor in expected.items():
            self.assertTrue(torch.allclose(result[name], tensor, atol=1e-4, rtol=1e-4), name)
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            expected, result = original(*inputs), converted(*inputs)
        for name, tensor in expected.items():
            self.assertEqual(result[name].dtype, tensor.dtype, name)

    def test_a_second_conversion_changes_nothing(self):
        for name in SAMPLES:
            with self.subTest(sample=name):
                target, _ = self.convert(name)
                again = pathlib.Path(self.folder.name, f"{name}.again.pt")
                done = convert(target, again)
                self.assertEqual(done.exit_code, 0, done.log)
                self.assertEqual([site for site in done.report["attention"] if site["status"] == "fused"], [])
                self.assertEqual([fold for fold in done.report["folded"] if fold["status"] == "folded"], [])
                first, second = torch.jit.load(target), torch.jit.load(again)
                self.assertEqual(first.code, second.code)
                self.assertEqual(list(first.state_dict()), list(second.state_dict()))


if __name__ == "__main__":
    unittest.main()
