"""Converts many small files quickly: one program that has LibTorch loaded, forked for each file (fork_server.c)."""

import json
import os
import pathlib
import signal
import subprocess
from dataclasses import dataclass, field

import torch

SERVER = pathlib.Path(__file__).with_name("fork_server.c")


@dataclass
class Conversion:
    exit_code: int | None  # None: a signal ended it
    signal: str | None = None
    error: str = ""
    report: dict = field(default_factory=dict)

    @property
    def sites(self) -> list[dict]:
        return self.report.get("attention", [])

    @property
    def fused(self) -> int:
        return sum(site["status"] == "fused" for site in self.sites)


def build_server(folder: pathlib.Path) -> pathlib.Path:
    library = folder / "fork_server.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, SERVER, "-ldl"], check=True)
    return library


def operators_of(program: pathlib.Path) -> str:
    """The operator library that the program itself is linked to: what its converted files are to be loaded with."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        if "libflashconvert_ops.so" in line and "=>" in line:
            return line.split("=>")[1].split("(")[0].strip()
    raise SystemExit(f"{program} is not linked to libflashconvert_ops.so")


class _WarmUp(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ x.transpose(-2, -1), -1) @ x


class Converter:
    """Runs `flashconvert` on one file after the other."""

    def __init__(self, program: pathlib.Path, folder: pathlib.Path):
        self._folder = folder
        self._log = open(folder / "conversion.log", "w+b")
        environment = {**os.environ, "LD_PRELOAD": str(build_server(folder)), "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment, text=True
        )
        warm_up = folder / "warm_up.pt"
        torch.jit.save(torch.jit.script(_WarmUp()), warm_up)
        self._server.stdin.write(f"{warm_up}\t--dry-run\n")

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._log.close()

    def convert(self, source: pathlib.Path, target: pathlib.Path, *options: str) -> Conversion:
        report = self._folder / "report.json"
        report.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
        self._log.truncate(0)
        arguments = [str(source), str(target), "--report", str(report), *options]
        self._server.stdin.write("\t".join(arguments) + "\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        if os.WIFSIGNALED(status):
            return Conversion(None, signal.Signals(os.WTERMSIG(status)).name)
        found = json.loads(report.read_text()) if report.exists() else {}
        return Conversion(os.WEXITSTATUS(status), error=found.get("error") or self._last_words(), report=found)

    def _last_words(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip("\0\n").rpartition("\n")[2]
