"""flashconvert::attention on the CPU against the forms that it replaces, in one process: the plain products and
softmax, torch's flash attention called alone, and the operator with a softcap, which is the composite that serves what
flash attention cannot (with a little more to do), or the kernel for bfloat16, which has no other path. All of them in
TorchScript, as in a checkpoint. Times in milliseconds, the median of the runs.

    FLASHCONVERT_OPS=build/release/libflashconvert_ops.so python tests/bench/cpu_operator.py [--threads 1 2] [--short] [--dtypes float16]
"""

import argparse
import os
import statistics
import time
from typing import Optional

import torch
from torch import Tensor

SHORT = ((1, 8, 1, 64), (1, 12, 8, 64), (1, 12, 16, 64), (1, 4, 50, 32), (1, 12, 50, 64), (8, 12, 16, 64), (8, 12, 50, 64))
SHAPES = ((1, 12, 50, 64), (1, 12, 197, 64), (8, 12, 128, 64), (2, 8, 512, 128), (1, 8, 2048, 64))


def plain(query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], scale: float):
    scores = torch.matmul(query, key.transpose(-2, -1)) * scale
    if bias is not None:
        scores = scores + bias
    return torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2).contiguous()


def flash(query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], scale: float):
    output, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=bias, scale=scale
    )
    return output.transpose(1, 2).contiguous()


def operator(query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], scale: float):
    return torch.ops.flashconvert.attention(query, key, value, bias, scale=scale).transpose(1, 2).contiguous()


def composite(query: Tensor, key: Tensor, value: Tensor, bias: Optional[Tensor], scale: float):
    output = torch.ops.flashconvert.attention(query, key, value, bias, scale=scale, softcap=1e4)
    return output.transpose(1, 2).contiguous()


FORMS = (plain, operator, flash, composite)


def measure(forms, tensors, scale, seconds):
    """Median milliseconds of each form. The forms take turns, so that a busy machine is busy for all of them."""
    times = [[] for _ in forms]
    for form in forms:
        for _ in range(4):  # torch's executor profiles the first calls
            form(*tensors, scale)
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times[0]) < 5:
        for form, taken in zip(forms, times):
            start = time.perf_counter()
            form(*tensors, scale)
            taken.append(time.perf_counter() - start)
    return [1e3 * statistics.median(taken) for taken in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each row")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--short", action="store_true", help="few tokens alone, where the calls themselves cost most")
    arguments = parser.parse_args()
    torch.ops.load_library(os.environ["FLASHCONVERT_OPS"])
    forms = [torch.jit.script(form) for form in FORMS]
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    print("| threads | dtype | B, H, L, D | mask | plain | operator | flash | composite | plain / operator |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for dtype in (getattr(torch, name) for name in arguments.dtypes):
            for shape in SHORT if arguments.short else SHAPES:
                for mask in ("none", "padding"):
                    batch, heads, length, features = shape
                    packed = torch.randn(3, batch, length, heads, features).to(dtype).transpose(2, 3)
                    bias = None
                    if mask == "padding":
                        bias = torch.zeros(batch, 1, 1, length, dtype=dtype)
                        bias[..., length - length // 4:] = float("-inf")
                    with torch.no_grad():
                        times = measure(forms, (*packed, bias), features**-0.5, arguments.seconds)
                    cells = [str(threads), str(dtype)[6:], ", ".join(map(str, shape)), mask]
                    cells += [f"{value:.3f}" for value in times] + [f"{times[0] / times[1]:.2f}"]
                    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
