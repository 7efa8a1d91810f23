"""timm's vision transformers: plain attention and scaled_dot_product_attention, position tables, rotary embedding, cosine
attention with a learned scale, and the forms that may not be fused (talking heads, attention across channels)."""

from functools import partial

import timm
import torch
from model_case import ModelCase
from timm.layers import set_fused_attn

SIDE = 32


def make(name: str, fused: bool, **options):
    """A timm model with its own plain attention (`fused` false), or with scaled_dot_product_attention."""
    set_fused_attn(enable=fused, experimental=fused)
    try:
        return timm.create_model(name, pretrained=False, num_classes=10, **options)
    finally:
        set_fused_attn(enable=True)


def image(batch, side):
    return (torch.randn(batch, 3, side, side),)


PLAIN_VIT = {"img_size": SIDE, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
SWIN = {"img_size": SIDE, "patch_size": 2, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}


def _case(name, model, fused, plain, options, **expected):
    return ModelCase(
        name, partial(make, model, not plain, **options), image, fused, shape=(2, SIDE),
        other_shapes=((3, SIDE), (1, SIDE)), **expected,
    )  # fmt: skip


def _plain_and_sdpa(name, model, fused, options, **expected):
    return [
        _case(f"timm_{name}_plain", model, fused, True, options, **expected),
        _case(f"timm_{name}_sdpa", model, fused, False, options, **expected),
    ]


MODELS = [
    *_plain_and_sdpa("vit", "vit_tiny_patch16_224", 2, PLAIN_VIT),
    *_plain_and_sdpa("vit_qk_norm", "vit_tiny_patch16_224", 2, {**PLAIN_VIT, "qk_norm": True}),
    *_plain_and_sdpa("deit_distilled", "deit_tiny_distilled_patch16_224", 2, PLAIN_VIT),
    *_plain_and_sdpa("vit_relpos", "vit_relpos_small_patch16_224", 2, PLAIN_VIT),
    *_plain_and_sdpa("beit", "beit_base_patch16_224", 2, PLAIN_VIT),
    *_plain_and_sdpa("eva_rotary", "eva02_tiny_patch14_224", 2, PLAIN_VIT),
    *_plain_and_sdpa("swin", "swin_tiny_patch4_window7_224", 4, SWIN),
    _case("timm_swin_v2", "swinv2_tiny_window8_256", 4, True, SWIN),
    _case(
        "timm_cait_talking_heads", "cait_xxs24_224", 2, True, PLAIN_VIT, declined=("heads", "heads")
    ),
    _case("timm_xcit_channels", "xcit_nano_12_p16_224", 2, True, PLAIN_VIT, declined=("channel", "channel")),
]
