"""compare_checkpoints.py ORIGINAL CONVERTED: loads both with flashconvert_ops alone, runs them on the inputs that the
trace recorded the shapes of, and fails unless every output agrees to 1e-5 of its scale. Nothing of the program is asked.
"""

import collections
import io
import pickle
import sys
import zipfile

import flashconvert_ops  # noqa: F401  registers the operators
import torch


def traced_shapes(path):
    """The shapes of the example inputs of forward (traced_inputs.pkl: method name to list of tensors without data)."""

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if name == "_rebuild_tensor_v2":
                return lambda storage, offset, shape, *rest: tuple(shape)
            if module == "torch.jit._pickle":  # build_tensorlist, restore_type_tag
                return lambda value, *rest: value
            return collections.OrderedDict if name == "OrderedDict" else name

        def persistent_load(self, identifier):
            return identifier

    with zipfile.ZipFile(path) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith("/traced_inputs.pkl")]
        return Reader(io.BytesIO(archive.read(entry))).load()["forward"]


def tensors(value):
    if torch.is_tensor(value):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
    return [tensor for part in parts for tensor in tensors(part)]


def main(original, converted):
    torch.manual_seed(0)
    inputs = [torch.randn(shape) for shape in traced_shapes(original)]
    before, after = torch.jit.load(original).eval(), torch.jit.load(converted).eval()
    if "FusedAttention" not in str(after):
        sys.exit("the converted checkpoint has no fused attention")
    with torch.inference_mode():
        pairs = list(zip(tensors(before(*inputs)), tensors(after(*inputs)), strict=True))
    worst = max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)
    print(f"torch {torch.__version__}: {len(pairs)} outputs, largest difference {worst:.1e} of the scale")
    if not pairs or not worst < 1e-5:
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
