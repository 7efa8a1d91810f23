"""Many files in one run."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import unittest

import torch

from program import PROGRAM, ProgramTest, example, with_interrupts


def children(pid):
    """The processes that `pid` has started and not yet waited for."""
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def first_child(pid):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := children(pid):
            return found[0]
        time.sleep(0.005)
    raise AssertionError("no process was started")


class Batch(ProgramTest):
    def setUp(self):
        super().setUp()
        self.inputs = self.folder / "in"
        self.inputs.mkdir()
        self.target = self.folder / "made" / "on demand"

    def copies(self, *names):
        return [pathlib.Path(shutil.copy(self.encoder, self.inputs / name)) for name in names]

    def outputs(self):
        return sorted(path.name for path in self.target.iterdir())

    def test_every_file_goes_to_the_folder_under_its_name(self):
        a, b = self.copies("a.pt", "b.pt")
        done = self.convert("--output-dir", self.target, a, b)
        self.assertEqual(self.outputs(), ["a.pt", "b.pt"])
        self.assert_same_function(a, self.target / "a.pt")
        self.convert(a, self.output)
        self.assertEqual((self.target / "b.pt").read_bytes(), self.output.read_bytes())
        self.assertRegex(done.stderr, r"(?m)^file +exit +time +result$")
        self.assertEqual(len(re.findall(r"(?m) 0 .*converted, fused 2 of 2, folded 1 of 1$", done.stderr)), 2)
        self.assertIn("2 of 2 files converted; exit code 0", done.stderr)
        self.assertEqual(done.stdout, b"")

    def test_a_failing_file_does_not_stop_the_rest_and_the_worst_code_is_returned(self):
        a, b = self.copies("a.pt", "b.pt")
        wrong = self.inputs / "wrong.pt"
        torch.save({"weight": example()}, wrong)
        self.target.mkdir(parents=True)
        (self.target / "b.pt").write_bytes(b"precious")
        for jobs in ("1", "3"):
            with self.subTest(jobs=jobs):
                report = self.folder / "report.json"
                arguments = ("--output-dir", self.target, "--jobs", jobs, "--report", report)
                done = self.convert(*arguments, wrong, b, self.inputs / "missing.pt", a, code=6)
                self.assertEqual(self.outputs(), ["a.pt", "b.pt"])
                self.assertEqual((self.target / "b.pt").read_bytes(), b"precious")
                self.assertIn("1 of 4 files converted; exit code 6", done.stderr)
                reports = json.loads(report.read_text())
                self.assertEqual([entry["exit_code"] for entry in reports], [4, 6, 4, 0])
                self.assertEqual([pathlib.Path(entry["input"]["path"]).name for entry in reports],
                                 ["wrong.pt", "b.pt", "missing.pt", "a.pt"])
                self.assertIn("no such file", reports[2]["error"])
                self.assertIsNone(reports[3]["error"])
                (self.target / "a.pt").unlink()

    def test_options_reach_every_file(self):
        a, b = self.copies("a.pt", "b.pt")
        inputs = self.folder / "inputs.pt"
        torch.save((example(3),), inputs)
        report = self.folder / "report.json"
        self.convert(
            *("--output-dir", self.target, "--verify", "--revert-failing", "--bench", "--inputs", inputs),
            *("--device", "cpu", "--backend", "portable", "--only", "first", "--only", "head", "--skip=-odd"),
            *("--no-pack", "--report", report, a, b),
        )
        for entry in json.loads(report.read_text()):
            self.assertEqual({site["path"]: site["status"] for site in entry["attention"]},
                             {"first": "fused", "second": "declined"})
            self.assertEqual(entry["folded"][0]["status"], "folded")
            self.assertEqual(entry["operators"]["needed"], [])
            self.assertEqual(entry["parity"]["device"], "cpu")
            self.assertTrue(entry["parity"]["passed"])
            self.assertIsNotNone(entry["bench"])
            self.assertFalse(entry["attention"][0]["packed"])
        self.convert("--output-dir", self.target, "--force", "--strict", "--skip", "second", a, code=3)
        report = self.report("--output-dir", self.target, "--force", "--no-fold", a)
        self.assertEqual([weight for weight in report[0]["folded"] if weight["status"] == "folded"], [])
        self.convert("--output-dir", self.target, "--load-library", "missing.so", "--force", a, code=2)

    def test_side_by_side_each_log_stays_whole(self):
        files = self.copies(*(f"{letter}.pt" for letter in "abcd"))
        done = self.convert("--output-dir", self.target, "--jobs", "4", *files)
        log = done.stderr[: done.stderr.index("file ")]
        parts = re.split(r"(?m)^\[(\d)/4\] .*$", log)[1:]
        self.assertEqual(sorted(parts[0::2]), ["1", "2", "3", "4"])
        for number, part in zip(parts[0::2], parts[1::2]):
            name = "abcd"[int(number) - 1]
            self.assertEqual(part.count("first  fused"), 1, part)
            self.assertIn(f"/{name}.pt", part[part.index("output ") :])

    def test_a_dry_run_makes_nothing(self):
        a, b = self.copies("a.pt", "b.pt")
        done = self.convert("--output-dir", self.target, "--dry-run", a, b)
        self.assertIn("2 of 2 files planned", done.stderr)
        self.assertFalse(self.target.exists())

    def test_quiet_prints_errors_only(self):
        (a,) = self.copies("a.pt")
        self.assertEqual(self.convert("--output-dir", self.target, "--quiet", a).stderr, "")
        done = self.convert("--output-dir", self.target, "--quiet", a, "missing.pt", code=6)
        self.assertEqual(len(re.findall("(?m)^error: ", done.stderr)), 2)
        self.assertNotIn("[1/2]", done.stderr)

    def test_one_page_holds_all_files(self):
        a, b = self.copies("a.pt", "b.pt")
        page = self.folder / "report.html"
        self.convert("--output-dir", self.target, "--report", page, a, b)
        text = page.read_text()
        self.assertIn("<h2>2 files</h2>", text)
        self.assertEqual(text.count("<article>"), 2)

    def test_wrong_usage(self):
        a, b = self.copies("a.pt", "b.pt")
        other = self.inputs / "other"
        other.mkdir()
        cases = {
            "no INPUT was given": ["--output-dir", self.target],
            "would both be written to a.pt": ["--output-dir", self.target, a, other / "a.pt"],
            "has no name to write under": ["--output-dir", self.target, "-", a],
            "cannot go to standard output": ["--output-dir", "-", a],
            "--jobs x: expected a number": ["--output-dir", self.target, "--jobs", "x", a],
            "--jobs 0: expected a number": ["--output-dir", self.target, "--jobs", "0", a],
            "would overwrite INPUT": ["--output-dir", self.target, "x.json", "--report", "x.json"],
        }
        for message, arguments in cases.items():
            with self.subTest(message):
                done = self.convert(*arguments, code=2)
                self.assertIn(message, done.stderr)
                self.assertFalse(self.target.exists())

    def test_a_folder_that_cannot_be_made(self):
        (a,) = self.copies("a.pt")
        (self.folder / "file").write_bytes(b"")
        for folder in (self.folder / "file", self.folder / "file" / "below"):
            done = self.convert("--output-dir", folder, a, code=6)
            self.assertIn("cannot be made", done.stderr)

    def test_the_input_folder_as_the_output_folder_destroys_nothing(self):
        (a,) = self.copies("a.pt")
        before = a.read_bytes()
        self.convert("--output-dir", self.inputs, "--force", a, code=2)
        self.assertEqual(a.read_bytes(), before)


class Crashes(ProgramTest):
    def start(self, *arguments, interrupts=signal.SIG_DFL):
        target = self.folder / "out"
        command = [PROGRAM, "--output-dir", target, "--verify", *arguments]
        return target, subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **with_interrupts(interrupts))

    def copies(self, count):
        return [shutil.copy(self.encoder, self.folder / f"{index}.pt") for index in range(count)]

    def test_a_process_that_crashes_does_not_stop_the_rest(self):
        report = self.folder / "report.json"
        target, process = self.start("--report", report, *self.copies(3))
        os.kill(first_child(process.pid), signal.SIGSEGV)
        log = process.communicate(timeout=300)[1]
        self.assertEqual(process.returncode, 1, log)
        self.assertIn("was ended by signal 11 (Segmentation fault)", log)
        self.assertEqual(sorted(path.name for path in target.iterdir()), ["1.pt", "2.pt"])
        self.assertEqual([entry["exit_code"] for entry in json.loads(report.read_text())], [1, 0, 0])

    def test_a_signal_ends_the_batch_and_its_processes(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(number.name):
                target, process = self.start("--jobs", "2", "--force", *self.copies(3))
                child = first_child(process.pid)
                process.send_signal(number)
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, code)
                self.assertFalse(pathlib.Path(f"/proc/{child}").exists(), "the conversion outlived its batch")
                self.assertEqual(list(target.iterdir()), [])

    def test_an_interrupt_that_was_ignored_stays_ignored(self):
        target, process = self.start(*self.copies(2), interrupts=signal.SIG_IGN)
        child = first_child(process.pid)
        process.send_signal(signal.SIGINT)
        os.kill(child, signal.SIGINT)
        log = process.communicate(timeout=300)[1]
        self.assertEqual(process.returncode, 0, log)
        self.assertEqual(sorted(path.name for path in target.iterdir()), ["0.pt", "1.pt"])


if __name__ == "__main__":
    unittest.main()
