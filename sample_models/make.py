#!/usr/bin/env python3
"""Makes the sample checkpoints:

    python sample_models/make.py --out DIR                       all of them
    python sample_models/make.py perception windowed --out DIR   some of them
"""

import argparse
import importlib
import pathlib

import torch

SAMPLES = ("perception", "padded_encoder", "rotary_decoder", "windowed", "scripted")


def without_source_positions(path: pathlib.Path) -> None:
    """Rewrites an archive without the records that map its code back to Python source lines: they are half of a small
    checkpoint, and they hold the paths of the machine that made it."""
    reader = torch._C.PyTorchFileReader(str(path))
    records = {name: reader.get_record(name) for name in reader.get_all_records() if not name.endswith(".debug_pkl")}
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, content in records.items():
        if name not in ("version", ".data/serialization_id"):  # written by the writer itself
            writer.write_record(name, content, len(content))
    writer.write_end_of_file()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(SAMPLES)} (default: all)")
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="DIR", help="folder for the .pt files")
    parser.add_argument("--width", type=int, default=64, help="model width, a multiple of 16 (default: %(default)s)")
    parser.add_argument("--strip", action="store_true", help="leave out the positions in the Python source")
    parser.add_argument(
        "--inputs", action="store_true", help="also write NAME.inputs.pt, a tuple of tensors for flashconvert --inputs"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(SAMPLES)
    if unknown:
        parser.error(f"no such sample: {', '.join(sorted(unknown))} (there are {', '.join(SAMPLES)})")
    if arguments.width <= 0 or arguments.width % 16:
        parser.error(f"--width must be a positive multiple of 16, not {arguments.width}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or SAMPLES:
        sample = importlib.import_module(name)
        path = arguments.out / f"{name}.pt"
        torch.jit.save(sample.export(arguments.width), path)
        if arguments.strip:
            without_source_positions(path)
        print(f"{path}  {path.stat().st_size / 1e3:.0f} kB")
        if arguments.inputs:
            torch.save(sample.make_inputs(), arguments.out / f"{name}.inputs.pt")


if __name__ == "__main__":
    main()
