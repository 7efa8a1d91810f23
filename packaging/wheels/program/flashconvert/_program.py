"""The program of this wheel, and the LibTorch that it runs with."""

import importlib.metadata
import importlib.util
import os
import pathlib
import re

_HERE = pathlib.Path(__file__).resolve().parent
_SITE = _HERE.parent  # where pip also puts torch and flashconvert_ops, and where the program's RUNPATH looks for them


class InstallationError(Exception):
    """The program's parts are not there, or do not fit each other."""


def _required_torch() -> str:
    """The minor version that the program is built against, "2.11", as this wheel requires it."""
    for requirement in importlib.metadata.requires("flashconvert") or []:
        found = re.fullmatch(r"torch\s*==\s*(\d+\.\d+)\.\*", requirement)
        if found:
            return found.group(1)
    raise InstallationError("this installation of flashconvert does not say which torch it needs")


def _check_torch() -> None:
    required = _required_torch()
    advice = f"\n  pip install 'torch=={required}.*', or give flashconvert an environment of its own: pipx install flashconvert"
    ours = importlib.metadata.version("flashconvert")
    try:
        installed = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise InstallationError(f"flashconvert {ours} needs torch {required}, and this environment has none{advice}") from None
    if not re.match(re.escape(required) + r"(\.|$)", installed):
        raise InstallationError(
            f"flashconvert {ours} is built for torch {required}, and this environment has torch {installed}{advice}"
        )


def _folder(package: str) -> pathlib.Path:
    """Where a package is, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InstallationError(f"the package {package} is missing: pip install --force-reinstall flashconvert")
    return pathlib.Path(spec.submodule_search_locations[0]).resolve()


def program() -> tuple[str, dict[str, str]]:
    """The program's path, and the environment to start it with. Raises InstallationError."""
    _check_torch()
    environment = dict(os.environ)
    operators, torch = _folder("flashconvert_ops"), _folder("torch")
    if operators.parent != _SITE or torch.parent != _SITE:
        # Another folder of sys.path, as with --system-site-packages.
        folders = [str(operators), str(torch / "lib"), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = ":".join(folder for folder in folders if folder)
    return str(_HERE / "bin" / "flashconvert"), environment
