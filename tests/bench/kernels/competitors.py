"""The ways to compute one Shape: the backends of scaled_dot_product_attention, FlashAttention-3, and plain operators.

Each is a function (shape, tensors, bias) -> result [B, H, Lq, Dv]; it raises where it cannot compute the shape.
"""

import importlib
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

MOST_SCORES_BYTES = 4 << 30  # of one float32 score tensor, above which `math` is left out


class Unsupported(RuntimeError):
    """This way of computing has no form for the shape."""


def additive_mask(shape, device):
    """The window as an additive mask [Lq, Lk] in the operands' dtype, which every backend that takes masks takes."""
    seen = shape.visible(torch.arange(shape.query_length), device)
    return torch.zeros_like(seen, dtype=shape.dtype).masked_fill_(~seen, float("-inf"))


class ScaledDotProduct:
    """One backend of torch.nn.functional.scaled_dot_product_attention, called as its users call it."""

    def __init__(self, backend):
        self._backend = backend
        self._masks = {}  # made once a shape: the backends are timed, not the making of their masks

    def __call__(self, shape, tensors, bias):
        if shape.softcap:
            raise Unsupported("scaled_dot_product_attention has no softcap")
        square_causal = shape.causal and shape.window_left < 0 and shape.query_length == shape.key_length
        if bias is None and not square_causal and (shape.causal or shape.window_left >= 0):
            bias = self._mask(shape, tensors[0].device)
        with sdpa_kernel(self._backend):
            return torch.nn.functional.scaled_dot_product_attention(
                *tensors, attn_mask=bias, is_causal=square_causal, enable_gqa=shape.key_heads != shape.heads)

    def _mask(self, shape, device):
        if shape not in self._masks:
            self._masks = {shape: additive_mask(shape, device)}
        return self._masks[shape]


class FlashAttention2(ScaledDotProduct):
    """The flash backend; windows and unequal lengths go to its kernel, which knows them, past the public function."""

    def __init__(self):
        super().__init__(SDPBackend.FLASH_ATTENTION)

    def __call__(self, shape, tensors, bias):
        if bias is not None or shape.softcap or not shape.causal or (
                shape.window_left < 0 and shape.query_length == shape.key_length):
            return super().__call__(shape, tensors, bias)
        query, key, value = (tensor.transpose(1, 2) for tensor in tensors)
        window = {} if shape.window_left < 0 else {"window_size_left": shape.window_left, "window_size_right": 0}
        return torch.ops.aten._flash_attention_forward(
            query, key, value, None, None, shape.query_length, shape.key_length, 0.0, not window, False,
            scale=shape.head_dim**-0.5, **window)[0].transpose(1, 2)


class Math(ScaledDotProduct):
    """The math backend, and the plain formula where it lacks a part."""

    def __init__(self):
        super().__init__(SDPBackend.MATH)

    def __call__(self, shape, tensors, bias):
        if shape.batch * shape.heads * shape.query_length * shape.key_length * 4 > MOST_SCORES_BYTES:
            raise Unsupported("the scores take too much memory")
        if not shape.softcap:
            return super().__call__(shape, tensors, bias)
        query, key, value = tensors
        scores = shape.softcap * torch.tanh((query @ key.transpose(-2, -1)) * (shape.head_dim**-0.5 / shape.softcap))
        if shape.causal or shape.window_left >= 0:
            scores = scores + self._mask(shape, query.device)
        return scores.softmax(-1) @ value


class FlashAttention3:
    """A build of FlashAttention-3: a folder with its Python interface, which says what that build leaves out."""

    def __init__(self, folder):
        sys.path.insert(0, folder)
        for module in ("fa3_fwd_interface", "flash_attn_interface"):
            try:
                self._attention = importlib.import_module(module).flash_attn_func
                return
            except ModuleNotFoundError as missing:
                if missing.name != module:
                    raise
        raise SystemExit(f"{folder}: neither fa3_fwd_interface nor flash_attn_interface is there")

    def __call__(self, shape, tensors, bias):
        if bias is not None:
            raise Unsupported("FlashAttention-3 has no bias")
        if shape.dtype == torch.float32:
            raise Unsupported("FlashAttention-3 has no float32")
        query, key, value = (tensor.transpose(1, 2) for tensor in tensors)
        windowed = shape.window_left >= 0
        result = self._attention(
            query, key, value, causal=shape.causal and not windowed, softcap=shape.softcap,
            window_size=(shape.window_left, 0 if shape.causal else -1) if windowed else (-1, -1),
            num_splits=1 if shape.query_length == shape.key_length else 0)  # 0: as many as its heuristic takes
        return (result[0] if isinstance(result, tuple) else result).transpose(1, 2)


def make_competitors(flash_attention_3):
    """Name to function, the columns of the table."""
    competitors = {"flash": FlashAttention2(), "cudnn": ScaledDotProduct(SDPBackend.CUDNN_ATTENTION),
                   "efficient": ScaledDotProduct(SDPBackend.EFFICIENT_ATTENTION), "math": Math()}
    if flash_attention_3:
        competitors["fa3"] = FlashAttention3(flash_attention_3)
    return competitors
