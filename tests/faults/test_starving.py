"""What happens around a conversion: its input is written, it is signalled or killed, memory and folders are missing.
OUTPUT is the old file or the new whole one, the exit code says which, and no temporary file stays."""

import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest
import zlib
from typing import Tuple

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "app"))

import torch
from program import PROGRAM, TIMEOUT, Attention, ProgramTest, run, save_traced

from mutate import archive_of, records_of


def wait_until_open(process, path):
    """Until the process has opened the file."""
    for _ in range(TIMEOUT * 1000):
        for link in pathlib.Path(f"/proc/{process}/fd").glob("*"):
            try:
                if os.readlink(link) == str(path):
                    return
            except OSError:  # closed since
                pass
        time.sleep(0.001)
    raise AssertionError(f"{path} was never opened")


def first_child(process):
    """The id of the worker, once it runs."""
    children = pathlib.Path(f"/proc/{process}/task/{process}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.01)
    return int(found[0])


class StarvingTest(ProgramTest):
    """A test with a large checkpoint, whose save takes a while."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        model = torch.nn.Sequential(Attention(), torch.nn.Linear(16, 1_000_000))
        cls.large = save_traced(model, pathlib.Path(cls._samples.name) / "large.pt")  # 68 MB

    def leftovers(self):
        return list(self.folder.glob(".*.tmp"))

    def start(self, source=None, *arguments, **options):
        self.output.write_bytes(b"precious")
        return subprocess.Popen([PROGRAM, source or self.large, self.output, "--force", *arguments], stderr=subprocess.PIPE, start_new_session=True, **options)

    def wait_for_save(self, process):
        """Until the temporary file holds something."""
        while process.poll() is None:
            for path in self.leftovers():
                try:
                    if path.stat().st_size > 1 << 20:
                        return
                except FileNotFoundError:
                    pass


class Starving(StarvingTest):
    def test_every_ending_signal_removes_the_temporary_file(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU):
            with self.subTest(number.name):
                process = self.start(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
                self.wait_for_save(process)
                process.send_signal(number)
                process.communicate(timeout=TIMEOUT)
                self.assertEqual(process.returncode, 128 + number)
                self.assertEqual(self.output.read_bytes(), b"precious")
                self.assert_only("out.pt")

    def test_a_hang_up_that_is_ignored_stays_so(self):
        process = self.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.wait_for_save(process)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0)

    def test_the_next_run_removes_what_a_killed_one_left(self):
        process = self.start()
        self.wait_for_save(process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(len(self.leftovers()), 1)
        others = [self.folder / name for name in (".other.pt.flashconvert-1-0.tmp", ".out.pt.flashconvert-mine.tmp")]
        for path in others:
            path.write_bytes(b"somebody else's")
        self.convert(self.encoder, self.output, "--force")
        self.assertEqual(sorted(self.leftovers()), sorted(others))

    def test_a_temporary_file_in_use_is_left_alone(self):
        process = self.start()
        self.wait_for_save(process)
        os.killpg(process.pid, signal.SIGSTOP)
        used = self.leftovers()
        self.convert(self.encoder, self.output, "--force")
        self.assertEqual(self.leftovers(), used)
        os.killpg(process.pid, signal.SIGCONT)
        process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0)
        self.assert_only("out.pt")

    def test_an_input_that_is_written_meanwhile(self):
        source = self.folder / "in.pt"
        for stop in (False, True):  # between two reads, and before all that follow the first
            shutil.copy(self.large, source)
            process = self.start(source)
            worker = first_child(process.pid)
            wait_until_open(worker, source)
            if stop:
                os.kill(worker, signal.SIGSTOP)
            with source.open("r+b") as file:
                file.seek(40_000_000)
                file.write(bytes(range(256)))
            os.kill(worker, signal.SIGCONT)
            _, message = process.communicate(timeout=TIMEOUT)
            with self.subTest(stop=stop):
                self.assertEqual(process.returncode, 4, message)
                self.assertIn(b"was changed by somebody else", message)
                self.assertEqual(self.output.read_bytes(), b"precious")
                self.assertEqual(self.leftovers(), [])

    def test_out_of_memory(self):
        megabytes = 1 << 20
        codes = set()
        for limit in (500, 560, 620, 700):
            process = self.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit * megabytes, limit * megabytes)))
            _, message = process.communicate(timeout=TIMEOUT)
            with self.subTest(limit=limit):
                if process.returncode != 0 and b"error while loading shared libraries" not in message:
                    codes.add(process.returncode)
                    self.assertIn(process.returncode, (7,), message)
                    self.assertIn(b"out of memory", message)
                    self.assertEqual(self.output.read_bytes(), b"precious")
        self.assertEqual(codes, {7}, "no limit was felt")

    def test_no_folder_for_temporary_files(self):
        done = run("-", "-", stdin=self.encoder.read_bytes(), environment={"TMPDIR": str(self.folder / "none")})
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assertIn("TMPDIR", done.stderr)

    def test_a_stream_without_end_is_looked_at(self):
        with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
            done = subprocess.run([PROGRAM, "-", self.output], stdin=endless.stdout, capture_output=True, text=True, timeout=TIMEOUT)
            endless.kill()
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("standard input: is a text file", done.stderr)


class Restless(torch.nn.Module):
    """Does `kind` of mischief while it is loaded."""

    kind: torch.jit.Final[str]
    path: str

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.path = ""
        self.register_buffer("x", torch.ones(1))

    @torch.jit.export
    def __getstate__(self):
        return self.x, self.training, self.path

    @torch.jit.export
    def __setstate__(self, state: Tuple[torch.Tensor, bool, str]):
        self.x = state[0]
        self.training = state[1]
        self.path = state[2]
        if self.kind == "loops":
            while bool(self.x.sum() > 0):
                self.x = torch.ones(1)
        if self.kind == "grows":
            self.x = torch.ones(1 << 28)
            while bool(self.x[0] > 0):
                self.x[0] = 1
        if self.kind == "writes":
            self.x = torch.from_file(self.path, shared=True, size=4, dtype=torch.float32)
        if self.kind == "asks":
            self.x = torch.ones(1 << 50)

    def forward(self, x):
        return x + self.x


class Worker(StarvingTest):
    """The file's code runs in a process of its own."""

    def restless(self, kind):
        path = self.folder / "in.pt"
        torch.jit.script(Restless(kind)).save(str(path))
        return path

    def assert_ended(self, code, *arguments, message):
        report = self.folder / "report.json"
        done = self.convert(*arguments, self.output, "--report", report, code=code)
        self.assertIn(message, done.stderr)
        self.assertEqual(sum(line.startswith("error:") for line in done.stderr.splitlines()), 1, done.stderr)
        told = json.loads(report.read_text())
        self.assertEqual(told["exit_code"], code)
        self.assertIn(message, told["error"])
        report.unlink()
        self.assertFalse(self.output.exists())
        self.assertEqual(self.leftovers(), [])

    def test_what_never_ends_is_ended(self):
        self.assert_ended(7, self.restless("loops"), "--max-time", "2", message="longer than --max-time allows (2.0 s) (stage: load)")

    def test_what_takes_too_much_is_ended(self):
        self.assert_ended(7, self.restless("grows"), "--max-memory", "600M", message="--max-memory allows (629.1 MB) (stage: load)")
        self.assert_ended(7, self.restless("asks"), message="out of memory")

    def test_what_writes_elsewhere_is_stopped(self):
        target = pathlib.Path(self._samples.name) / "written.bin"
        source = self.folder / "in.pt"
        scripted = torch.jit.script(Restless("writes"))
        scripted.path = str(target)
        scripted.save(str(source))
        for arguments in ((self.output,), ("--dry-run",)):
            done = self.convert(source, *arguments, code=4)
            self.assertIn("written.bin", done.stderr)
            self.assertIn("Permission denied", done.stderr)
            self.assertFalse(target.exists())
        self.convert(source, self.output, "--no-sandbox")
        self.assertTrue(target.exists())

    def test_a_crash_is_told(self):
        for number, code in ((signal.SIGSEGV, 4), (signal.SIGABRT, 4), (signal.SIGKILL, 7)):
            with self.subTest(number.name):
                process = subprocess.Popen([PROGRAM, self.restless("loops"), self.output], stderr=subprocess.PIPE, text=True)
                worker = first_child(process.pid)
                time.sleep(1)
                os.kill(worker, number)
                _, message = process.communicate(timeout=TIMEOUT)
                self.assertEqual(process.returncode, code, message)
                self.assertIn("(stage: load)", message)
                self.assert_only("in.pt")

    def test_a_crash_while_saving_leaves_nothing(self):
        process = self.start()
        self.wait_for_save(process)
        os.kill(first_child(process.pid), signal.SIGSEGV)
        _, message = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1, message)
        self.assertIn(b"crashed: Segmentation fault (stage: save)", message)
        self.assertEqual(self.output.read_bytes(), b"precious")
        self.assert_only("out.pt")

    def test_the_worker_ends_with_the_program(self):
        process = subprocess.Popen([PROGRAM, self.restless("loops"), self.output], stderr=subprocess.DEVNULL)
        worker = first_child(process.pid)
        process.kill()
        process.wait(TIMEOUT)
        for _ in range(100):
            if not pathlib.Path(f"/proc/{worker}").exists() or "\nState:\tZ" in pathlib.Path(f"/proc/{worker}/status").read_text():
                return
            time.sleep(0.1)
        self.fail("it runs on")

    def test_wrong_limits(self):
        for option, value in (("--max-memory", "much"), ("--max-memory", "0"), ("--max-memory", "9999999999999T"), ("--max-time", "-1"), ("--max-time", "0")):
            done = self.convert(self.encoder, self.output, f"{option}={value}", code=2)
            self.assertIn(f"{option} {value}: expected", done.stderr)


class Bombs(ProgramTest):
    def test_a_small_file_that_unfolds(self):
        bomb = self.folder / "bomb.pt"
        zeros = zlib.compress(bytes(512 << 20), 9)[2:-4]
        name = records_of(self.encoder.read_bytes())[0][0].split("/")[0] + "/extra/zeros"
        content = bytearray(archive_of(records_of(self.encoder.read_bytes()) + [(name, zeros)]))
        at = content.rfind(b"PK\x01\x02")
        content[at + 10 : at + 12] = struct.pack("<H", 8)
        content[at + 24 : at + 28] = struct.pack("<I", 512 << 20)
        bomb.write_bytes(content)
        ordinary_code, _, ordinary = self.memory_of(self.encoder)
        self.assertEqual(ordinary_code, 0)
        code, message, memory = self.memory_of(bomb)
        self.assertEqual(code, 4, message)
        self.assertIn("may unfold to", message)
        self.assertLess(memory, ordinary + (100 << 20))

    def memory_of(self, path):
        """Exit code, messages, and the most bytes that a conversion held."""
        process = subprocess.Popen([PROGRAM, path, self.output, "--force"], stderr=subprocess.PIPE, text=True)
        message = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.stderr.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, message, used.ru_maxrss << 10

    def test_names_do_not_command_the_terminal(self):
        spoiled = self.folder / "spoiled.pt"
        records = records_of(self.encoder.read_bytes())
        records[3] = ("\x1b[2J\x1b]0;title\x07", records[3][1])
        content = bytearray(archive_of(records))
        content[content.find(records[3][1])] ^= 1
        spoiled.write_bytes(content)
        done = self.convert(spoiled, self.output, code=4)
        self.assertNotIn("\x1b", done.stderr)


if __name__ == "__main__":
    unittest.main()
