"""The operators that converted checkpoints call: `import flashconvert_ops` registers them with torch.

`library_path()` is the library's file, for C++ programs and LD_PRELOAD; `python -m flashconvert_ops` prints it, and needs
no torch for that.
"""

import pathlib
import sys

__all__ = ["library_path"]

_OLDEST_TORCH = (2, 10)


def library_path() -> str:
    """The absolute path of libflashconvert_ops.so."""
    return str(pathlib.Path(__file__).resolve().parent / "libflashconvert_ops.so")


def _register() -> None:
    try:
        import torch
    except ImportError as problem:
        raise ImportError("flashconvert_ops registers operators with torch, which cannot be imported") from problem
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _OLDEST_TORCH:
        raise ImportError(
            f"flashconvert_ops needs torch {_OLDEST_TORCH[0]}.{_OLDEST_TORCH[1]} or newer, and this is torch "
            f"{torch.__version__}"
        )
    # Whoever loaded the library before, from here or from elsewhere, has registered the same operators.
    if not hasattr(torch.ops.flashconvert, "attention"):
        torch.ops.load_library(library_path())


# While `python -m flashconvert_ops` looks for the package, sys.argv[0] is "-m": whoever asks for the path needs no torch.
if sys.argv[:1] != ["-m"] or "flashconvert_ops" not in sys.orig_argv:
    _register()
