"""Runs the flashconvert program, and makes the small checkpoints that the tests of the command line give it.

Environment: FLASHCONVERT is the program, FLASHCONVERT_OPS the operator library. The operator libraries of
tests/app/operators lie beside it.
"""

import contextlib
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import tempfile
import unittest

import torch

PROGRAM = os.environ["FLASHCONVERT"]
OPERATORS = os.environ["FLASHCONVERT_OPS"]
DRIFT = str(pathlib.Path(OPERATORS).parent / "libflashconvert_test_drift.so")
SABOTAGE = str(pathlib.Path(OPERATORS).parent / "libflashconvert_test_sabotage.so")
TIMEOUT = 300


class Attention(torch.nn.Module):
    """Plain softmax attention."""

    def __init__(self, width: int = 16, heads: int = 2):
        super().__init__()
        self.q = torch.nn.Linear(width, width)
        self.k = torch.nn.Linear(width, width)
        self.v = torch.nn.Linear(width, width)
        self.out = torch.nn.Linear(width, width)
        self.heads = heads
        self.features = width // heads
        self.scale = self.features**-0.5

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, self.features).transpose(1, 2)

    def weights(self, x):
        return torch.softmax(self.split(self.q(x)) @ self.split(self.k(x)).transpose(-2, -1) * self.scale, dim=-1)

    def forward(self, x):
        heads = self.weights(x) @ self.split(self.v(x))
        return self.out(heads.transpose(1, 2).reshape(x.shape))


class AttentionWithWeights(Attention):
    """Attention that returns its weights, so that it cannot be fused."""

    def forward(self, x):
        weights = self.weights(x)
        heads = weights @ self.split(self.v(x))
        return self.out(heads.transpose(1, 2).reshape(x.shape)), weights


class Encoder(torch.nn.Module):
    """Attention layers `first` (heads of 8) and `second` (heads of 4), and a layer whose weight is normalised at each
    call."""

    def __init__(self):
        super().__init__()
        self.first = Attention(heads=2)
        self.second = Attention(heads=4)
        self.head = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(16, 4))

    def forward(self, x):
        x = x + self.first(x)
        return self.head(x + self.second(x))


class Drifting(torch.nn.Module):
    """Attention beside a custom operator whose results differ from call to call."""

    def __init__(self):
        super().__init__()
        self.attention = Attention()

    def forward(self, x):
        return self.attention(x) + torch.ops.flashconvert_test.drift(x)


class Printing(torch.nn.Module):
    """Attention that prints whenever it runs."""

    def __init__(self):
        super().__init__()
        self.attention = Attention()

    def forward(self, x):
        print("printed by the model")
        return self.attention(x)


def example(seed=0):
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(seed))


def save_traced(model, path, seed=0):
    torch.manual_seed(seed)
    torch.jit.trace(model.eval(), example(seed)).save(str(path))
    return path


def run(*arguments, stdin=None, environment=None, cwd=None, program=PROGRAM):
    """The program's exit code, standard output (bytes) and standard error (text)."""
    done = subprocess.run(
        [program, *map(str, arguments)],
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    done.stderr = done.stderr.decode()
    return done


def with_interrupts(disposition):
    """For a new process: SIGINT as a shell at a terminal hands it down (SIG_DFL), or as a script does to what it leaves
    in the background (SIG_IGN)."""
    return {"preexec_fn": lambda: signal.signal(signal.SIGINT, disposition)}


def run_on_terminal(*arguments, streams=("stderr",)):
    """The exit code and what a terminal on the given standard streams shows."""
    terminal, end = pty.openpty()
    ends = {name: end if name in streams else subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CLICOLOR_FORCE")}
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], env={**environment, "TERM": "xterm"}, **ends)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal whose other end is closed reads as an error
        while select.select([terminal], [], [], TIMEOUT)[0]:
            part = os.read(terminal, 65536)
            if not part:
                break
            shown += part
    os.close(terminal)
    return process.wait(TIMEOUT), shown.decode()


class ProgramTest(unittest.TestCase):
    """A test with a folder of its own, and the checkpoints that most tests need, made once for all of them."""

    @classmethod
    def setUpClass(cls):
        cls._samples = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._samples.cleanup)
        samples = pathlib.Path(cls._samples.name)
        cls.encoder = save_traced(Encoder(), samples / "encoder.pt")
        cls.plain = save_traced(torch.nn.Linear(16, 4), samples / "plain.pt")
        cls.weights = save_traced(AttentionWithWeights(), samples / "weights.pt")

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.output = self.folder / "out.pt"

    def convert(self, *arguments, code=0, **options):
        """Runs the program and checks its exit code, showing what it said when that is another."""
        done = run(*arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def report(self, *arguments, code=0, **options):
        """The JSON report of a run."""
        path = self.folder / "report.json"
        self.convert(*arguments, "--report", path, code=code, **options)
        return json.loads(path.read_text())

    def assert_same_function(self, original, converted):
        torch.ops.load_library(OPERATORS)
        one, other = torch.jit.load(str(original)), torch.jit.load(str(converted))
        for shape in ((2, 5, 16), (1, 7, 16)):
            x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
            torch.testing.assert_close(other(x), one(x))

    def assert_only(self, *names):
        """The test's folder holds these files and no other: no half file, no temporary one."""
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), sorted(names))
