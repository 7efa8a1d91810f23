"""--verify through the program, with files of inputs as Python writes them."""

import collections
import os
import pathlib
import subprocess
import tempfile
import unittest

import torch
from conversion import convert

PROGRAM = os.environ["FLASHCONVERT"]


class Attention(torch.nn.Module):
    """Token and mask in, two outputs: enough for every kind of input."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(30, 16)
        self.projection = torch.nn.Linear(16, 48)

    def forward(self, ids, mask):
        q, k, v = self.projection(self.words(ids)).chunk(3, -1)
        scores = (q @ k.transpose(1, 2) / 4).masked_fill(mask[:, None] == 0, float("-inf"))
        return {"mixed": scores.softmax(-1) @ v, "ids": ids + 1}


class VerifyTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        torch.manual_seed(0)
        self.ids = torch.randint(0, 30, (2, 6))
        self.mask = torch.ones(2, 6, dtype=torch.int64)
        traced = torch.jit.trace(Attention().eval(), (self.ids, self.mask), strict=False)
        self.checkpoint = self.folder / "model.pt"
        traced.save(str(self.checkpoint))

    def verify(self, *options):
        return convert(self.checkpoint, self.folder / "out.pt", "--verify", "--device", "cpu", *options)

    def inputs(self, value, **options):
        path = self.folder / "inputs.pt"
        torch.save(value, path, **options)
        return "--inputs", str(path)

    def assert_refused(self, options, *parts):
        done = self.verify(*options)
        self.assertEqual(done.exit_code, 2, done.log)
        for part in parts:
            self.assertIn(part, done.log)
        self.assertFalse((self.folder / "out.pt").exists())

    def test_traced_shapes(self):
        done = self.verify()
        self.assertEqual(done.exit_code, 0, done.log)
        parity = done.report["parity"]
        self.assertTrue(parity["passed"])
        self.assertEqual(parity["device"], "cpu")
        self.assertIn("int64[2, 6], int64[2, 6] (traced shape)", parity["cases"][0]["inputs"])
        self.assertTrue(any("derived" in case["inputs"] for case in parity["cases"]))
        names = [output["name"] for output in parity["cases"][0]["outputs"]]
        self.assertEqual(names, ["output['mixed']", "output['ids']"])

    def test_files_of_every_kind(self):
        pair = (self.ids, self.mask)
        for value, cases in ((pair, 1), ([pair, pair], 2), ({"mask": self.mask, "ids": self.ids}, 1)):
            done = self.verify(*self.inputs(value), "--force")
            self.assertEqual(done.exit_code, 0, done.log)
            given = [case for case in done.report["parity"]["cases"] if "derived" not in case["inputs"]]
            self.assertEqual(len(given), cases)

    def test_wrong_values_are_named(self):
        self.assert_refused(self.inputs((self.ids,)), "argument 2 (`mask`) is missing")
        self.assert_refused(self.inputs((self.ids, 5)), "argument 2 (`mask`) takes Tensor, given is 5")
        self.assert_refused(self.inputs((self.ids.float(), self.mask)), "argument 1 (`ids`) selects", "float32[2, 6]")
        self.assert_refused(self.inputs((self.ids + 30, self.mask)), "a table that has 30, given are values from")
        shorter = self.mask[:, :4]
        self.assert_refused(self.inputs((self.ids, shorter)), "`mask`", "int64[2, 4]", "traced with int64[2, 6]")

    def test_wrong_files_are_named(self):
        self.assert_refused(self.inputs(collections.OrderedDict(ids=self.ids)), "Python object")
        self.assert_refused(self.inputs((self.ids,), _use_new_zipfile_serialization=False), "old format")
        self.assert_refused(("--inputs", str(self.folder / "absent.pt")), "absent.pt")
        self.assert_refused(("--inputs", str(self.checkpoint)), "TorchScript")

    def test_specs(self):
        self.assert_refused(("--input-spec", "int64[3,x]"), "int64[3,x]", "         ^", "expected a size")
        done = self.verify("--input-spec", "mask:int64[3,9]{1}", "--input-spec", "ids:int64[3,9]{0..29}")
        self.assertEqual(done.exit_code, 0, done.log)
        self.assertIn("int64[3, 9], int64[3, 9] (--input-spec)", done.report["parity"]["cases"][0]["inputs"])

    def test_nothing_to_draw_from(self):
        stripped = self.folder / "stripped.pt"
        torch.jit.save(torch.jit.load(self.checkpoint), stripped)
        command = [PROGRAM, stripped, self.folder / "out.pt", "--verify"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("forward(Tensor ids, Tensor mask)", done.stderr)
        self.assertIn("ids:int64[…]{0..29}", done.stderr)


if __name__ == "__main__":
    unittest.main()
