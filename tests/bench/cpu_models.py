"""The models of models_gpu.py on the CPU, traced in bfloat16 or another dtype: the original against its conversion with
either backend, timed by the program itself (--bench: both models in one process, taking turns, medians). A ratio above 1
means that the conversion is slower. Needs timm and transformers.

    FLASHCONVERT=build/release/flashconvert python tests/bench/cpu_models.py [--threads 1] [--dtype bfloat16] [--model bert]...
"""

import argparse
import pathlib
import tempfile
import warnings

import torch

from bench_models import MODELS, in_dtype
from cpu_samples import compare

# Batch and length (of an image: its side) for each model.
SIZES = {"bert": ((1, 16), (1, 50), (1, 128), (8, 128), (1, 384), (2, 512)), "gpt2": ((1, 128), (1, 512)), "vit224": ((1, 224),),
         "vit384": ((1, 384),), "swin": ((1, 224),), "encoder": ((1, 128), (1, 512))}


def trace(model, form, dtype, path):
    torch.manual_seed(0)
    module = model.forms[form]().eval().to(dtype)
    with torch.no_grad():
        traced = torch.jit.trace(module, in_dtype(model.inputs(2, model.traced_length or model.length), dtype), strict=False,
                                 check_trace=False)
    traced.save(str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="the median of so many runs of the program")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--model", action="append", choices=[model.name for model in MODELS])
    arguments = parser.parse_args()
    dtype = getattr(torch, arguments.dtype)
    warnings.filterwarnings("ignore")
    print("| model | form | B, L | original, ms | flash, ms | flash / original | portable / original |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model in (model for model in MODELS if not arguments.model or model.name in arguments.model):
            for form in model.forms:
                checkpoint = folder / "model.pt"
                trace(model, form, dtype, checkpoint)
                for batch, length in SIZES[model.name]:
                    torch.save(in_dtype(model.inputs(batch, length), dtype), checkpoint.with_suffix(".inputs.pt"))
                    before, flash = compare(checkpoint, folder, arguments.threads, "flash", arguments.repeats)
                    own, portable = compare(checkpoint, folder, arguments.threads, "portable", arguments.repeats)
                    print(f"| {model.name} | {form} | {batch}, {length} | {before:.2f} | {flash:.2f} | {flash / before:.2f} "
                          f"| {portable / own:.2f} |", flush=True)


if __name__ == "__main__":
    main()
