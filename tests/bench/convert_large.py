"""Time and memory of a conversion of a large checkpoint, against torch.jit.load + torch.jit.save in Python.

    FLASHCONVERT=build/release/flashconvert python tests/bench/convert_large.py [--layers 15] [--folder /dev/shm]

Each runs in a process of its own. The folder should be in memory: flashconvert flushes its output to the disk and Python
does not, so that on a slow disk the figures say how slow the disk is.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch

ALLOWED_TIME = 1.5  # times Python's
ALLOWED_MEMORY = 2.2  # times the file

LOAD_AND_SAVE = """
import sys, time, torch
start = time.perf_counter()
torch.jit.save(torch.jit.load(sys.argv[1]), sys.argv[2])
print(time.perf_counter() - start)
"""


def make_checkpoint(path: pathlib.Path, layers: int) -> None:
    layer = torch.nn.TransformerEncoderLayer(1280, 20, 5120, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).eval()
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad():
        torch.jit.trace(model, torch.randn(1, 16, 1280), check_trace=False).save(str(path))


def run(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak memory in bytes, and standard output of a process that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"failed: {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024, output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=15, help="15 layers are 1.2 GB")
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, target = pathlib.Path(folder) / "model.pt", pathlib.Path(folder) / "output.pt"
        make_checkpoint(source, options.layers)
        size = source.stat().st_size
        python, ours = [], []
        for _ in range(options.repeats):  # interleaved: both meet the same state of the machine
            _, memory, output = run([sys.executable, "-c", LOAD_AND_SAVE, str(source), str(target)])
            python.append((float(output), memory))
            target.unlink()
            ours.append(run([os.environ["FLASHCONVERT"], "--quiet", str(source), str(target)])[:2])
            target.unlink()
    python_time, our_time = min(t for t, _ in python), min(t for t, _ in ours)
    python_memory, our_memory = max(m for _, m in python), max(m for _, m in ours)
    print(f"checkpoint                  {size / 1e9:6.2f} GB")
    print(f"torch.jit.load + save       {python_time:6.2f} s   peak {python_memory / size:.2f} x the file")
    print(f"flashconvert                {our_time:6.2f} s   peak {our_memory / size:.2f} x the file")
    print(f"time   {our_time / python_time:.2f} x (at most {ALLOWED_TIME})")
    print(f"memory {our_memory / size:.2f} x (at most {ALLOWED_MEMORY})")
    sys.exit(0 if our_time <= ALLOWED_TIME * python_time and our_memory <= ALLOWED_MEMORY * size else 1)


if __name__ == "__main__":
    main()
