"""The sample checkpoints on the CPU: the original against its conversion, timed by the program itself (--bench: both
models in one process, taking turns, medians). A ratio above 1 means that the conversion is slower.

    FLASHCONVERT=build/release/flashconvert python tests/bench/cpu_samples.py [--threads 1] [CHECKPOINT...]
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

SMALL = pathlib.Path(__file__).resolve().parents[2] / "sample_models" / "small"


def bench(checkpoint, folder, threads, backend):
    report = folder / "report.json"
    command = [os.environ["FLASHCONVERT"], checkpoint, folder / "out.pt", "--bench", "--device", "cpu", "--force"]
    command += ["--quiet", "--report", report, "--backend", backend]
    inputs = checkpoint.with_suffix(".inputs.pt")
    command += ["--inputs", inputs] if inputs.exists() else []
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    return json.loads(report.read_text())["bench"]


def compare(checkpoint, folder, threads, backend, repeats):
    """Milliseconds of the original and of its conversion, in the run whose ratio is the median."""
    runs = [bench(checkpoint, folder, threads, backend) for _ in range(repeats)]
    runs.sort(key=lambda run: run["converted_ms"] / run["original_ms"])
    middle = runs[len(runs) // 2]
    return middle["original_ms"], middle["converted_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many runs of the program")
    arguments = parser.parse_args()
    checkpoints = arguments.checkpoints or sorted(
        path for path in SMALL.glob("*.pt") if not path.name.endswith(".inputs.pt")
    )
    print("| checkpoint | backend | original, ms | converted, ms | converted / original |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for checkpoint in checkpoints:
            for backend in ("flash", "portable"):
                before, after = compare(checkpoint, pathlib.Path(folder), arguments.threads, backend, arguments.repeats)
                print(f"| {checkpoint.stem} | {backend} | {before:.3f} | {after:.3f} | {after / before:.2f} |", flush=True)


if __name__ == "__main__":
    main()
