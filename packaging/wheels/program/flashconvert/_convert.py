"""flashconvert.convert: one run of the program."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from ._errors import BY_EXIT_CODE, InternalError
from ._program import program
from ._report import Report


def convert(
    source,
    target=None,
    *,
    verify=False,
    revert_failing=False,
    bench=False,
    inputs=None,
    input_spec=(),
    device=None,
    backend="flash",
    only=(),
    skip=(),
    fold=True,
    pack=True,
    linear=True,
    dry_run=False,
    strict=False,
    force=False,
    load_library=(),
    options=(),
    show=False,
) -> Report:
    """Converts the checkpoint `source` into `target` and returns the report.

    The arguments are the program's options (docs/user-guide.md). `inputs` is a file that torch.save wrote, or the tuple
    of arguments (or list of tuples) itself. `options` are further ones as on the command line. `target` may be left out
    with `dry_run`. With `show`, the program's lines go to standard error as they come; they are in `report.log` otherwise.

    Raises the ConversionError of the exit code (ParityError, InputError, …), with the report where there is one, and
    InstallationError where the program cannot start.
    """
    path, environment = program()
    with tempfile.TemporaryDirectory(prefix="flashconvert-") as scratch:
        report_file = pathlib.Path(scratch) / "report.json"
        command = [path, f"--report={report_file}", f"--backend={backend}"]
        if inputs is not None:
            command.append(f"--inputs={_inputs_file(inputs, pathlib.Path(scratch))}")
        if device is not None:
            command.append(f"--device={device}")
        flags = {
            "--verify": verify,
            "--revert-failing": revert_failing,
            "--bench": bench,
            "--no-fold": not fold,
            "--no-pack": not pack,
            "--no-linear": not linear,
            "--dry-run": dry_run,
            "--strict": strict,
            "--force": force,
        }
        command += [flag for flag, is_set in flags.items() if is_set]
        repeated = {"--input-spec": input_spec, "--only": only, "--skip": skip, "--load-library": load_library}
        command += [f"{name}={value}" for name, values in repeated.items() for value in _each(values)]
        command += [*options, "--", os.fspath(source)] + ([] if target is None else [os.fspath(target)])
        exit_code, log = _run(command, environment, show)
        report = json.loads(report_file.read_text(), object_hook=Report) if report_file.exists() else None
    if report is not None:
        report.log = log
    if exit_code == 0:
        return report
    raise BY_EXIT_CODE.get(exit_code, InternalError)(_message(exit_code, report, log), report, log)


def _each(values):
    return [values] if isinstance(values, (str, os.PathLike)) else list(values)


def _inputs_file(inputs, scratch):
    if isinstance(inputs, (str, os.PathLike)):
        return os.fspath(inputs)
    import torch  # to save them; a file needs no torch in this process

    file = scratch / "inputs.pt"
    torch.save(inputs, file)
    return file


def _run(command, environment, show):
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    lines = []
    with process:
        for line in process.stderr:
            lines.append(line)
            if show:
                sys.stderr.write(line)
    return process.returncode, "".join(lines)


def _message(exit_code, report, log):
    if report is not None and report.error:
        return report.error
    start = log.rfind("error: ")
    if start >= 0:
        return log[start + len("error: ") :].strip()
    if exit_code < 0:
        return f"the program was ended by signal {-exit_code}"
    return f"the program ended with exit code {exit_code}"
