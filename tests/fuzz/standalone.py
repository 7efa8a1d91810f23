"""Generated models as scripts of their own: `python SCRIPT flashconvert` prints what differs and exits 1 where anything
does."""

import pathlib
import sys
import tempfile
import warnings

import torch
import trial
from converter import Converter, operators_of

DEFAULTS = {"EXPORT": "script", "DTYPE": torch.float32, "ACTIONS": [], "OPTIONS": [], "PRECISION": None, "VARIES": True,
            "LENGTHS": ((2, 5, 5), (1, 1, 1), (3, 9, 9), (1, 40, 40), (2, 60, 60), (1, 300, 300)), "USED_AS": "it is",
            "GRADIENTS": True, "FAST_PATH": True}  # fmt: skip


def as_script(text: str, note: str) -> str:
    lead = f'"""{note}"""\nimport os\nimport sys\n\nsys.path.insert(0, os.environ.get("FUZZ", {str(pathlib.Path(__file__).parent)!r}))\n'
    return lead + text + '\n\nif __name__ == "__main__":\n    import standalone\n\n    standalone.main(globals(), __file__)\n'


def main(script: dict, path: str) -> None:
    """Exports the script's Model, converts it, compares everything that the script's constants name, and ends the process."""
    warnings.filterwarnings("ignore")
    program = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    torch.ops.load_library(operators_of(program))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        converter = Converter(program, folder)
        found = trial.Trial()
        source, target = folder / "original.pt", folder / "converted.pt"
        namespace = {**DEFAULTS, **script, "SOURCE": pathlib.Path(path).read_text().partition("if __name__")[0]}
        torch.jit.save(trial.export(namespace), source)
        trial.run_saved(namespace, found, converter, source, target)
        converter.close()
    for site in found.conversion.sites if found.conversion else []:
        print(f"{site['path'] or '(root)'}  {site['status']}: {site['reason'] or ''}")
    for kind, words in found.differences.items():
        print(f"{kind}: {words}")
    if found.skipped:
        print(f"not a model: {found.skipped}")
    sys.exit(1 if found.differences else 2 if found.skipped else 0)
