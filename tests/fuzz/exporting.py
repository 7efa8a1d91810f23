"""From a source text to a TorchScript module, and the inputs that the text draws for it."""

import linecache
import sys
import types
import warnings

import torch
import values


def reseed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks at every other device as well


def namespace_of(text: str, name: str) -> dict:
    """Runs the source text; torch.jit.script finds its lines."""
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    module = sys.modules["generated"] = types.ModuleType("generated")
    module.__file__ = name
    exec(compile(text, name, "exec"), vars(module))
    return vars(module)


def seeded_inputs(namespace: dict, shape: tuple[int, int, int], variant: int, dtype: torch.dtype) -> tuple:
    reseed(7919 * variant + 31 * shape[0] + 7 * shape[1] + shape[2])
    drawn = namespace["inputs"](*shape, variant)
    return tuple(in_dtype(value, dtype) for value in drawn)


def in_dtype(value, dtype: torch.dtype):
    """Floats in float64 stand for the model's dtype; a mask's lowest number stays finite. In float64 all floats are:
    torch's scaled_dot_product_attention is wrong on the CPU for float64 operands and a float32 mask."""
    if dtype == torch.float64:
        return widened(value)
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float64:
        return value
    limit = torch.finfo(dtype).max
    return torch.where(value.isfinite(), value.clamp(-limit, limit), value).to(dtype)


def export(namespace: dict) -> torch.jit.ScriptModule:
    reseed(0)
    model = namespace["Model"]().eval().to(namespace["DTYPE"])
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(namespace["FAST_PATH"])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if namespace["EXPORT"] == "script":
                return torch.jit.script(model)
            example = seeded_inputs(namespace, namespace["LENGTHS"][0], values.ORDINARY, namespace["DTYPE"])
            return torch.jit.trace(model, example, strict=False, check_trace=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def widened(value):
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
