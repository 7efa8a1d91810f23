"""Generated models as scripts of their own: `python SCRIPT flashconvert` prints what differs and exits 1 where anything
does, 2 where torch itself does not take the model.

A script defines Model and inputs(b, l, s, variant), and any of the constants below (model.py says what they mean). What
no comparison of outputs shows, its function check(conversion, source, target) may find in the report and in both files:
it gives a list of complaints.
"""

import pathlib
import sys
import tempfile
import warnings

import torch
import trial
from converter import Converter, operators_of
from exporting import export

DEFAULTS = {
    "EXPORT": "script",
    "DTYPE": torch.float32,
    "ACTIONS": [],
    "OPTIONS": [],
    "PRECISION": None,
    "VARIES": True,
    "EXTREMES": True,
    "CREDIT": 0.05,
    "LENGTHS": ((2, 5, 5), (1, 1, 1), (3, 9, 9), (1, 40, 40), (2, 60, 60), (1, 300, 300)),
    "USED_AS": "it is",
    "GRADIENTS": True,
    "STRIDES": True,
    "TRAINS": True,
    "FAST_PATH": True,
}

LEAD = '''\
"""{note}"""

import os
import sys

sys.path.insert(0, os.environ.get("FUZZ", {folder!r}))
'''
END = """

if __name__ == "__main__":
    import standalone

    standalone.main(globals(), __file__)
"""


def as_script(text: str, note: str) -> str:
    return LEAD.format(note=note, folder=str(pathlib.Path(__file__).parent)) + text.rstrip("\n") + "\n" + END


def judge(script: dict, text: str, converter: Converter, folder: pathlib.Path) -> trial.Trial:
    """Exports the script's Model, converts it and compares everything that the script's constants name."""
    found = trial.Trial()
    source, target = folder / "original.pt", folder / "converted.pt"
    namespace = {**DEFAULTS, **script, "SOURCE": text.removesuffix(END)}
    try:
        torch.jit.save(export(namespace), source)
    except Exception as error:
        found.skipped = f"{type(error).__name__}: {error}"
        return found
    trial.run_saved(namespace, found, converter, (source, target))
    if "check" in script and found.conversion and found.conversion.exit_code == 0:
        for words in script["check"](found.conversion, source, target):
            found.add("report", words)
    return found


def main(script: dict, path: str) -> None:
    """What a script does when it is run; ends the process."""
    warnings.filterwarnings("ignore")
    program = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.ops.load_library(operators_of(program))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        converter = Converter(program, folder)
        found = judge(script, pathlib.Path(path).read_text(), converter, folder)
        converter.close()
    for site in found.conversion.sites if found.conversion else []:
        print(f"{site['path'] or '(root)'}  {site['status']}: {site['reason'] or ''}")
    for kind, words in found.differences.items():
        print(f"{kind}: {words}")
    if found.skipped:
        print(f"not a model: {found.skipped}")
    sys.exit(1 if found.differences else 2 if found.skipped else 0)
