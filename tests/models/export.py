#!/usr/bin/env python3
"""Writes the real models of the tests as .pt files, to convert or look at by hand:

    python tests/models/export.py --out build/models [GLOB ...]
"""

import argparse
import fnmatch
import importlib
import pathlib
import sys
import traceback
import warnings

import torch
from model_case import ModelCase, export

TABLES = ("decoder_models", "torch_nn_models", "torchvision_models", "timm_models", "transformers_models")


def all_cases() -> list[ModelCase]:
    cases = []
    for table in TABLES:
        cases += importlib.import_module(table).MODELS
    return cases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["*"], metavar="GLOB", help="which models (default: all)")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the .pt files")
    arguments = parser.parse_args()

    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for case in all_cases():
        if not any(fnmatch.fnmatch(case.name, glob) for glob in arguments.names):
            continue
        try:
            torch.jit.save(export(case), arguments.out / f"{case.name}.pt")
            print(case.name)
        except Exception:  # one model that does not export must not hide the others
            failed += 1
            print(f"{case.name}: not exported\n{traceback.format_exc()}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
