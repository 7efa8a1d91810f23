"""Fuses the attention of TorchScript checkpoints, by running the program of this wheel.

    report = flashconvert.convert("model.pt", "model-flash.pt", verify=True)
    report.parity.passed, [site.path for site in report.attention if site.status != "fused"]
"""

import importlib.metadata

from ._convert import convert
from ._errors import (
    ConversionError,
    InputError,
    InternalError,
    LimitError,
    OutputError,
    ParityError,
    UnfusedError,
    UsageError,
)
from ._program import InstallationError
from ._report import Report

__version__ = importlib.metadata.version("flashconvert")
__all__ = [
    "ConversionError",
    "InputError",
    "InstallationError",
    "InternalError",
    "LimitError",
    "OutputError",
    "ParityError",
    "Report",
    "UnfusedError",
    "UsageError",
    "convert",
]
