"""Standard input and output: the same bytes as with files, and nothing else."""

import os
import subprocess
import unittest

import torch

from program import PROGRAM, Printing, ProgramTest


class Pipes(ProgramTest):
    def setUp(self):
        super().setUp()
        self.convert(self.encoder, self.output)
        self.expected = self.output.read_bytes()
        self.input = self.encoder.read_bytes()

    def test_from_standard_input_to_standard_output(self):
        done = self.convert("-", "-", stdin=self.input)
        self.assertEqual(done.stdout, self.expected)

    def test_from_a_file_to_standard_output(self):
        self.assertEqual(self.convert(self.encoder, "-").stdout, self.expected)
        self.assertEqual(self.convert(self.encoder, "-", "--verify", "--verbose").stdout, self.expected)

    def test_from_standard_input_to_a_file(self):
        done = self.convert("-", self.folder / "other.pt", stdin=self.input)
        self.assertEqual(done.stdout, b"")
        self.assertEqual((self.folder / "other.pt").read_bytes(), self.expected)

    def test_a_second_conversion_gives_the_same_bytes(self):
        done = self.convert("-", "-", stdin=self.expected)
        self.assertEqual(done.stdout, self.expected)
        self.assertIn("nothing was converted", done.stderr)
        self.assertEqual(self.convert(self.output, "-").stdout, self.expected)
        self.convert("-", self.folder / "again.pt", stdin=self.expected)
        self.assertEqual((self.folder / "again.pt").read_bytes(), self.expected)

    def test_the_report_calls_both_streams_a_dash(self):
        report = self.report("-", "-", stdin=self.input)
        self.assertEqual(report["input"]["path"], "-")
        self.assertEqual(report["output"]["path"], "-")
        self.assertEqual(report["output"]["bytes"], len(self.expected))

    def test_nothing_is_written_when_the_input_is_wrong(self):
        for stdin in (b"", b"not a checkpoint", self.input[: len(self.input) // 2]):
            done = self.convert("-", "-", stdin=stdin, code=4)
            self.assertEqual(done.stdout, b"")

    def test_what_a_model_prints_does_not_reach_standard_output(self):
        model = self.folder / "printing.pt"
        torch.jit.script(Printing().eval()).save(str(model))
        spec = ("--input-spec", "float32[2,5,16]")
        done = self.convert(model, "-", "--verify", "--verbose", *spec)
        self.assertNotIn(b"printed by the model\n", done.stdout)
        self.assertIn("printed by the model", done.stderr)
        self.assertEqual(done.stdout[:2], b"PK")

    def test_a_closed_standard_output_is_an_error_before_the_work(self):
        done = subprocess.run(["sh", "-c", 'exec "$0" "$1" - >&-', PROGRAM, str(self.encoder)],
                              capture_output=True, timeout=120, check=False)  # fmt: skip
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn(b"error: standard output: is closed", done.stderr)
        self.assertNotIn(b"first  fused", done.stderr)

    def test_no_stream_that_is_closed_ends_up_in_the_checkpoint(self):
        for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
            with self.subTest(closed):
                other = self.folder / "other.pt"
                done = subprocess.run(["sh", "-c", f'exec "$0" "$1" "$2" --force {closed}', PROGRAM,
                                       str(self.encoder), str(other)], timeout=120, check=False)  # fmt: skip
                self.assertEqual(done.returncode, 0)
                self.assertEqual(other.read_bytes(), self.expected)

    def test_a_reader_that_leaves_is_a_write_error(self):
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.Popen([PROGRAM, self.encoder, "-"], stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        message = process.communicate(timeout=120)[1].decode()
        self.assertEqual(process.returncode, 6, message)
        self.assertIn("error: standard output", message)


if __name__ == "__main__":
    unittest.main()
