"""Batches of many files: resumed, dealt out in shards, their reports merged."""

import fcntl
import json
import shutil
import signal
import subprocess
import time
import unittest

import torch
from program import PROGRAM, AttentionWithWeights, ProgramTest, run, save_traced


class Fleet(ProgramTest):
    FILES = 8

    def setUp(self):
        super().setUp()
        self.inputs = self.folder / "inputs"
        self.inputs.mkdir()
        for number in range(self.FILES):
            shutil.copy(self.encoder, self.inputs / f"{number}.pt")
        self.output = self.folder / "out"

    def batch(self, *options, code=0):
        done = run("--output-dir", self.output, *options, *sorted(self.inputs.glob("*.pt")))
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def state(self):
        return {path.name: path.stat().st_mtime_ns for path in self.output.glob("*.pt")}


class Resume(Fleet):
    def test_a_second_run_does_nothing_twice_and_reports_everything(self):
        self.batch("--resume")
        before = self.state()
        report = self.folder / "all.json"
        said = self.batch("--resume", "--report", report)
        self.assertIn(f"--resume: {self.FILES} of {self.FILES} files were converted before, with the same options", said)
        self.assertEqual(self.state(), before)
        self.assertEqual([entry["exit_code"] for entry in json.loads(report.read_text())], [0] * self.FILES)

    def test_other_options_a_changed_input_and_a_damaged_output_are_converted_again(self):
        self.batch("--resume")
        before = self.state()
        save_traced(torch.nn.Linear(16, 4), self.inputs / "1.pt")
        with open(self.output / "2.pt", "r+b") as file:
            file.seek(100)
            file.write(b"damage")
        (self.output / "3.pt").unlink()
        self.batch("--resume")
        after = self.state()
        changed = sorted(name for name in after if after[name] != before[name])
        self.assertEqual(changed, ["1.pt", "2.pt", "3.pt"])
        said = self.batch("--resume", "--no-fold")
        self.assertIn(f"--resume: 0 of {self.FILES}", said)

    def test_options_that_only_tell_do_not_convert_again(self):
        self.batch("--resume", "--max-time", "600", "--dump-graphs", self.folder / "graphs")
        self.assertEqual(len(list((self.folder / "graphs").iterdir())), self.FILES)
        said = self.batch("--resume", "--max-time", "600.0", "--jobs", "2", "--quiet", "--dump-graphs", self.folder / "other")
        self.assertEqual(said, "")
        self.assertFalse((self.folder / "other").exists())

    def test_a_file_that_no_batch_wrote_is_not_replaced_however_often(self):
        self.output.mkdir()
        (self.output / "4.pt").write_bytes(b"precious")
        for _ in range(2):
            self.batch("--resume", code=6)
            self.assertEqual((self.output / "4.pt").read_bytes(), b"precious")
        self.assertEqual(len(self.state()), self.FILES)

    def test_a_killed_run_is_gone_on_with(self):
        command = [PROGRAM, "--output-dir", self.output, "--resume", *sorted(self.inputs.glob("*.pt"))]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(self.output.glob("*.pt"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.5)  # the conversion that was under way ends with its batch
        finished = {
            path.name.removesuffix(".report.json")
            for path in self.output.glob("*.report.json")
            if json.loads(path.read_text())["exit_code"] == 0
        }
        before = self.state()
        self.assertTrue(0 < len(finished) < self.FILES)
        self.batch("--resume")
        after = self.state()
        self.assertEqual(len(after), self.FILES)
        self.assertEqual({name for name in before if after[name] == before[name]} & finished, finished)
        self.assertFalse(list(self.output.glob(".*.tmp")))

    def test_two_runs_at_once_are_told_apart(self):
        self.output.mkdir()
        with open(self.output / ".flashconvert.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            said = self.batch("--resume", code=6)
            self.batch("--resume", "--shard", "1/2", code=6)
        self.assertIn("another run is converting this batch into", said)
        self.batch("--resume")

    def test_shards_run_beside_each_other_and_not_beside_the_whole(self):
        self.output.mkdir()
        with open(self.output / ".flashconvert.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            self.batch("--resume", "--shard", "1/2")
            self.batch("--resume", code=6)

    def test_it_needs_a_batch(self):
        self.assertEqual(run(self.encoder, self.folder / "x.pt", "--resume").returncode, 2)
        self.assertEqual(run("--output-dir", self.output, "--resume", "--dry-run", self.encoder).returncode, 2)


class Shards(Fleet):
    FILES = 12

    def test_they_are_disjoint_and_hold_everything(self):
        seen = []
        for number in (1, 2, 3):
            self.output = self.folder / f"out{number}"
            self.batch("--shard", f"{number}/3", "--resume")
            seen += [path.name for path in self.output.glob("*.pt")]
        self.assertEqual(sorted(seen), sorted(f"{number}.pt" for number in range(self.FILES)))

    def test_wrong_shards_are_refused(self):
        for shard in ("0/3", "4/3", "1", "a/b", "1/0", "-1/3"):
            done = run("--output-dir", self.output, f"--shard={shard}", *self.inputs.glob("*.pt"))
            self.assertEqual(done.returncode, 2, shard)
            self.assertIn("expected I/N", done.stderr)


class Merge(Fleet):
    FILES = 3

    def test_reports_of_a_folder_are_merged(self):
        save_traced(AttentionWithWeights(), self.inputs / "weights.pt")
        (self.inputs / "broken.pt").write_bytes(b"no checkpoint")
        self.batch("--resume", code=4)
        self.batch("--resume", "--report", self.output / "batch.json", code=4)
        (self.output / "other.json").write_text('{"not": "a report"}')
        merged = self.folder / "all.json"
        done = run("merge-reports", self.output, "-o", merged)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("other.json is no report", done.stderr)
        facts = json.loads(merged.read_text())
        self.assertEqual((facts["totals"]["files"], facts["totals"]["failed"]), (5, 1))
        self.assertEqual((facts["totals"]["fused"], facts["totals"]["sites"]), (6, 7))
        self.assertEqual([entry["path"] for entry in facts["failed"]], [str(self.inputs / "broken.pt")])
        self.assertEqual([entry["sites"] for entry in facts["unfused"]], [1])
        times = [entry["seconds"] for entry in facts["slowest"]]
        self.assertEqual(times, sorted(times, reverse=True))
        self.assertEqual(len(facts["reports"]), 5)

        page = self.folder / "all.html"
        self.assertEqual(run("merge-reports", self.output, "-o", page).returncode, 0)
        for text in ("5 files, 1 failed", "broken.pt", facts["unfused"][0]["reason"].split("'")[0]):
            self.assertIn(text, page.read_text())

        shutil.copy(self.encoder, self.inputs / "broken.pt")
        self.batch("--resume")
        self.assertEqual(run("merge-reports", self.output, "-o", merged).returncode, 0)
        mended = json.loads(merged.read_text())
        self.assertEqual((mended["totals"]["files"], mended["totals"]["failed"]), (5, 0))

    def test_bad_input(self):
        self.assertEqual(run("merge-reports", self.folder / "none", "-o", self.folder / "a.json").returncode, 4)
        self.assertEqual(run("merge-reports", self.inputs, "-o", self.folder / "a.json").returncode, 4)
        self.assertEqual(run("merge-reports", self.inputs, "-o", self.folder / "a.txt").returncode, 2)
        self.assertEqual(run("merge-reports", self.inputs).returncode, 2)


if __name__ == "__main__":
    unittest.main()
