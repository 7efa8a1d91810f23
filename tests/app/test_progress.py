"""What a person sees while the program works: progress that moves, and a verdict as soon as it is known.

A checkpoint that never comes through standard input stands for a stage that takes long.
"""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

import torch
from program import PROGRAM, SABOTAGE, Attention, ProgramTest, run, save_traced, with_interrupts


class Progress(ProgramTest):
    def start(self, stderr, *arguments):
        environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CLICOLOR_FORCE")}
        return subprocess.Popen(
            [PROGRAM, *arguments, "-", self.folder / "out.pt"],
            stdin=subprocess.PIPE,
            stderr=stderr,
            env={**environment, "TERM": "xterm"},
        )

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdin.close()

    def test_on_a_terminal_it_moves_every_second(self):
        terminal, end = pty.openpty()
        process = self.start(end)
        os.close(end)
        shown, times, deadline = b"", [], time.monotonic() + 60
        while len(times) < 3 and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)
                times = re.findall(rb"load +0 %  (\d+) s", shown)
        self.stop(process)
        os.close(terminal)
        self.assertEqual(times[:3], [b"1", b"2", b"3"], shown)

    def test_in_a_pipe_it_is_a_line_every_half_minute(self):
        process = self.start(subprocess.PIPE)
        start, lines = time.monotonic(), []
        for line in process.stderr:
            lines.append(line.decode())
            if "load" in lines[-1]:
                break
        waited = time.monotonic() - start
        self.stop(process)
        process.stderr.close()
        self.assertRegex(lines[-1], r"^load: 0 %, 3\d s\n$")
        self.assertGreater(waited, 29)

    def test_a_quiet_run_says_nothing(self):
        terminal, end = pty.openpty()
        process = self.start(end, "--quiet")
        os.close(end)
        self.assertEqual(select.select([terminal], [], [], 3)[0], [])
        self.stop(process)
        os.close(terminal)


class Verdict(ProgramTest):
    """Parity fails in each of twelve layers, and the search for the cause takes a while."""

    def setUp(self):
        super().setUp()
        layers = torch.nn.Sequential(*[Attention(heads=4) for _ in range(12)])
        self.model = save_traced(layers, self.folder / "layers.pt")
        self.report = self.folder / "report.json"
        self.arguments = [self.model, self.folder / "out.pt", "--verify", "--load-library", SABOTAGE]
        self.arguments += ["--report", self.report]

    def test_it_comes_before_the_cause_is_looked_for(self):
        done = run(*self.arguments)
        self.assertEqual(done.returncode, 5)
        verdict = done.stderr.index("parity    FAILED")
        search = done.stderr.index("looking for the cause; Ctrl-C ends it and keeps the report")
        self.assertLess(verdict, search)
        self.assertLess(search, done.stderr.index("parity fails with the attention of"))
        self.assertNotIn("interrupted", json.loads(self.report.read_text())["error"])

    def test_an_interrupted_search_leaves_the_report(self):
        process = subprocess.Popen(
            [PROGRAM, *self.arguments], stderr=subprocess.PIPE, text=True, **with_interrupts(signal.SIG_DFL)
        )
        with process:
            for line in process.stderr:
                if line.startswith("looking for the cause"):
                    process.send_signal(signal.SIGINT)
        self.assertEqual(process.returncode, 130)
        report = json.loads(self.report.read_text())
        self.assertEqual(report["exit_code"], 5)
        self.assertIn("interrupted", report["error"])
        self.assertFalse(report["parity"]["passed"])
        self.assertEqual(len(report["attention"]), 12)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["layers.pt", "report.json"])


if __name__ == "__main__":
    unittest.main()
