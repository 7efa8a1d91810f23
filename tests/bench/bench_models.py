"""The models of models_gpu.py: sizes that people deploy, random weights, each in the forms in which it is exported."""

import contextlib
import dataclasses
from collections.abc import Callable

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class BenchModel:
    """One row of the table. `forms` are the exports that conversions start from, the fastest that a user has last."""

    name: str
    title: str
    batch: int
    length: int  # tokens, or the side of an image
    forms: dict[str, Callable[[], nn.Module]]
    inputs: Callable[[int, int], tuple]  # of a batch and a length, float32 and int64
    eager: Callable[[], nn.Module]  # for torch.compile; needs no package beyond torch, torchvision and transformers
    traced_length: int = 0  # where it need not be the real one
    alone_length: int = 0  # of a single request, where it is not `length`


class FirstResult(nn.Module):
    """A library's model with positional arguments and its first result."""

    def __init__(self, model, **options):
        super().__init__()
        self.model = model
        self.options = options

    def forward(self, *arguments):
        return self.model(*arguments, **self.options)[0]


def _transformers(model_name, attention, config=None, **options):
    import transformers

    model_config = getattr(transformers, f"{model_name}Config")(
        attn_implementation=attention, return_dict=False, **(config or {}))
    return FirstResult(getattr(transformers, f"{model_name}Model")(model_config), **options)


def bert(attention):
    return _transformers("Bert", attention)


def gpt2(attention):
    return _transformers("GPT2", attention, use_cache=False)


def vit(side):
    return lambda attention: _transformers("ViT", attention, {"image_size": side})


def swin(fused):
    """timm's; it reads the flag when it makes a layer."""
    import timm

    timm.layers.set_fused_attn(fused)
    try:
        return timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)
    finally:
        timm.layers.set_fused_attn(True)


def torchvision_swin():
    import torchvision

    return torchvision.models.swin_t()


class Encoder(nn.Module):
    """torch.nn's, which takes one fused operator a layer in eval mode, or scaled_dot_product_attention."""

    def __init__(self, fast_path):
        super().__init__()
        layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.fast_path = fast_path

    def forward(self, tokens):
        with mha_fast_path(self.fast_path):
            return self.encoder(tokens)


@contextlib.contextmanager
def mha_fast_path(enabled):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def ids(batch, length):
    return (torch.randint(30000, (batch, length)),)


def padded_ids(batch, length):
    lengths = torch.randint(length // 2, length + 1, (batch, 1))
    return *ids(batch, length), (torch.arange(length) < lengths).long()


def images(batch, side):
    return (torch.randn(batch, 3, side, side),)


def features(batch, length):
    return (torch.randn(batch, length, 512),)


def _both(make):
    """Plain softmax and scaled_dot_product_attention, as transformers names them."""
    return {"softmax": lambda: make("eager"), "sdpa": lambda: make("sdpa")}


MODELS = (
    BenchModel("bert", "BERT-base B32 L512", 32, 512, _both(bert), padded_ids, lambda: bert("sdpa"), 32, 128),
    BenchModel("gpt2", "GPT-2 B16 L1024", 16, 1024, _both(gpt2), ids, lambda: gpt2("sdpa"), 32, 128),
    BenchModel("vit224", "ViT-B/16 224 B64", 64, 224, _both(vit(224)), images, lambda: vit(224)("sdpa")),
    BenchModel("vit384", "ViT-B/16 384 B32", 32, 384, _both(vit(384)), images, lambda: vit(384)("sdpa")),
    BenchModel("swin", "Swin-T 224 B64", 64, 224, {"softmax": lambda: swin(False), "sdpa": lambda: swin(True)}, images,
               torchvision_swin),
    BenchModel("encoder", "nn.TransformerEncoder 6 x 512, 8 heads, B16 L2048", 16, 2048,
               {"fast path": lambda: Encoder(True), "sdpa": lambda: Encoder(False)}, features, lambda: Encoder(False), 32),
)
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def in_dtype(arguments, dtype, device="cpu"):
    """The arguments on the device, floats in the dtype."""
    return tuple(item.to(device, dtype if item.is_floating_point() else None) for item in arguments)
