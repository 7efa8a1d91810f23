"""torchvision's transformers, traced and scripted (its models support both)."""

from functools import partial

import torch
from model_case import ModelCase
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
from torchvision.models.vision_transformer import VisionTransformer

SIDE = 32


def vit():
    return VisionTransformer(
        image_size=SIDE, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=10
    )


def swin(**options):
    return SwinTransformer(
        patch_size=[2, 2],
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=[4, 4],
        num_classes=10,
        **options,
    )


def swin_v2():
    return swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2)


def image(batch, side):
    return (torch.randn(batch, 3, side, side),)


# The second number of a shape is the image's side. A vision transformer has one; Swin pads to whole windows.
_vit = partial(ModelCase, make=vit, inputs=image, fused=2, shape=(2, SIDE), other_shapes=((3, SIDE), (1, SIDE)))
_swin = partial(ModelCase, inputs=image, fused=4, shape=(2, SIDE), other_shapes=((3, SIDE), (1, SIDE)))

MODELS = [
    _vit("torchvision_vit_fast_path"),
    _vit("torchvision_vit_traced", fast_path=False),
    _vit("torchvision_vit_scripted", scripted=True),
    _swin("torchvision_swin_traced", make=swin),
    _swin("torchvision_swin_scripted", make=swin, scripted=True),
    _swin("torchvision_swin_v2_traced", make=swin_v2),
    _swin("torchvision_swin_v2_scripted", make=swin_v2, scripted=True),
]
