"""Mutants of right checkpoints (mutate.py) are refused with one message, or converted to an equal model: never a crash,
never another exit code, in bounded time and memory.

All go through the checks that come before LibTorch, in one process; some of those that pass, and some that do not, go
through the whole program. FLASHCONVERT_MUTANTS and FLASHCONVERT_WHOLE say how many (5000 and 40), FLASHCONVERT_SEED which:
    FLASHCONVERT_MUTANTS=100000 FLASHCONVERT_WHOLE=2000 ctest --test-dir build/release -R test_mutants --verbose
"""

import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

from mutate import Mutator

PROGRAM = os.environ["FLASHCONVERT"]
CHECKER = pathlib.Path(PROGRAM).parent / "check_checkpoints"
SAMPLES = pathlib.Path(__file__).parents[2] / "sample_models" / "small"
MUTANTS = int(os.environ.get("FLASHCONVERT_MUTANTS", "5000"))
WHOLE = int(os.environ.get("FLASHCONVERT_WHOLE", "40"))
SEED = int(os.environ.get("FLASHCONVERT_SEED", "1"))
SLOWEST_CHECK, SLOWEST = 2.0, 60.0  # seconds
LARGEST = 1 << 30  # bytes of the whole program, LibTorch's libraries included


class Mutants(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.samples = [(SAMPLES / f"{name}.pt").read_bytes() for name in ("scripted", "windowed", "padded_encoder")]

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def mutant(self, number):
        """The file of one mutant, and its kind."""
        content, kind = Mutator(self.samples[number % len(self.samples)], f"{SEED} {number}").mutant()
        path = self.folder / "mutant.pt"
        path.write_bytes(content)
        return path, kind

    def test_the_checks_and_the_program(self):
        counts = collections.Counter()
        through = {"sound": [], "refused": []}
        with subprocess.Popen([CHECKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as checker:
            for number in range(MUTANTS):
                path, kind = self.mutant(number)
                begin = time.monotonic()
                checker.stdin.write(f"{path}\n")
                checker.stdin.flush()
                answer = checker.stdout.readline()
                self.assertLess(time.monotonic() - begin, SLOWEST_CHECK, f"mutant {number} ({kind})")
                verdict = answer.split(":")[0].strip()
                self.assertIn(verdict, ("sound", "refused"), f"mutant {number} ({kind}): {answer or 'crashed'}")
                self.assertTrue(answer.strip().isprintable(), f"mutant {number} ({kind}): {answer!r}")
                counts[kind, verdict] += 1
                through[verdict].append(number)
            checker.stdin.close()
        for (kind, verdict), count in sorted(counts.items()):
            print(f"{kind:>16} {verdict:>8} {count:6}", file=sys.stderr)
        codes = collections.Counter()
        for number in through["sound"][: WHOLE * 3 // 4] + through["refused"][: WHOLE // 4]:
            codes[self.convert(number, "--verify")] += 1
        print(f"whole program: {dict(codes)}", file=sys.stderr)
        self.assertGreater(codes[0], 0)

    def convert(self, number, *options):
        path, kind = self.mutant(number)
        output = self.folder / "out.pt"
        process = subprocess.Popen([PROGRAM, path, output, "--force", *options], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        message = process.stderr.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.stderr.close()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        about = f"mutant {number} ({kind}): exit {code}\n{message}"
        if code == 2 and options:  # the record of the inputs has another name: a right model all the same
            self.assertIn("there are no inputs to run the model on", about)
            return self.convert(number)
        self.assertIn(code, (0, 4, 7), about)
        self.assertLess(used.ru_utime + used.ru_stime, SLOWEST, about)
        self.assertLess(used.ru_maxrss * 1024, LARGEST, about)
        self.assertEqual(sum(line.startswith("error:") for line in message.splitlines()), 0 if code == 0 else 1, about)
        self.assertNotIn("\x1b", message, about)
        self.assertEqual({each.name for each in self.folder.iterdir()} - {"mutant.pt", "out.pt"}, set(), about)
        return code


if __name__ == "__main__":
    unittest.main()
