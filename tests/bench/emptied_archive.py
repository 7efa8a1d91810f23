"""TorchScript checkpoints of large models in a few hundred kilobytes: the large parameters are zeros, and compressed.

They are exported where the libraries are that can, and filled with random numbers where they are run. Everything that a
library computed (masks, positions, index tables) and every vector (norms, biases) stays as it was exported.
"""

import io
import lzma
import zipfile

import torch


def _large(module):
    return [(name, parameter) for name, parameter in module.named_parameters()
            if parameter.dim() >= 2 and parameter.is_floating_point()]


def save_emptied(module: torch.jit.ScriptModule, path) -> None:
    with torch.no_grad():
        for _, parameter in _large(module):
            parameter.zero_()
    whole = io.BytesIO()
    torch.jit.save(module, whole)
    with lzma.open(path, "wb", preset=1) as file:
        file.write(whole.getbuffer())


def load_filled(path, seed: int) -> torch.jit.ScriptModule:
    """The module with weights of unit gain, so that attention is neither uniform nor a choice of one key."""
    with lzma.open(path) as file:
        module = torch.jit.load(io.BytesIO(file.read()))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in _large(module):
            inputs = parameter[0].numel()
            values = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(values.mul_(inputs**-0.5))
    return module


def as_traced_on(device: str, source, target) -> None:
    """Copies a checkpoint that was traced on the CPU; the devices in its code become `device`, as a trace there has them."""
    with zipfile.ZipFile(source) as original, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        for name in original.namelist():
            content = original.read(name)
            if name.endswith(".py"):
                content = content.replace(b'torch.device("cpu")', f'torch.device("{device}")'.encode())
            copy.writestr(name, content)
