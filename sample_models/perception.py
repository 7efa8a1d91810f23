"""(a) perception: a unified manipulation transformer for a robot that watches hands and objects.

A ViT-like backbone with plain softmax attention, hand and object decoders with cross-attention, and a causal temporal
fusion of the frames. Every feature, MLP and attention projection outside nn.MultiheadAttention is a σReparam layer.
Traced; returns a dictionary.
"""

import torch
from sigma_reparam import SigmaReparam, imitate_training
from torch import nn
from torch.nn import functional

HEADS = 4
PATCH = 8
SIDE = 32
FRAMES = 3
JOINTS = 8  # of the robot's own arm


def split_heads(x):
    """[B, L, W] to [B, H, L, W / H]."""
    batch, length, width = x.shape
    return x.view(batch, length, HEADS, width // HEADS).transpose(1, 2)


def merge_heads(x):
    batch, heads, length, head_dim = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * head_dim)


def plain_attention(query, key, value, mask=None):
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    return torch.softmax(scores, dim=-1) @ value


class Attention(nn.Module):
    """Separate query, key, value and output projections, for self- and cross-attention."""

    def __init__(self, width):
        super().__init__()
        self.q_proj = SigmaReparam(width, width)
        self.k_proj = SigmaReparam(width, width)
        self.v_proj = SigmaReparam(width, width)
        self.out_proj = SigmaReparam(width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, query, memory, mask=None):
        attended = plain_attention(
            split_heads(self.q_proj(query)), split_heads(self.k_proj(memory)), split_heads(self.v_proj(memory)), mask
        )
        return self.dropout(self.out_proj(merge_heads(attended)))


class PackedSelfAttention(nn.Module):
    """One projection for query, key and value, as in the original ViT code."""

    def __init__(self, width):
        super().__init__()
        self.qkv = SigmaReparam(width, 3 * width)
        self.proj = SigmaReparam(width, width)
        self.attention_dropout = nn.Dropout(0.1)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = (query * (width // HEADS) ** -0.5) @ key.transpose(-2, -1)
        weights = self.attention_dropout(scores.softmax(dim=-1))
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, length, width))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = SigmaReparam(width, 2 * width)
        self.fc2 = SigmaReparam(2 * width, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


class BackboneBlock(nn.Module):
    def __init__(self, width, packed):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = PackedSelfAttention(width) if packed else Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x):
        normed = self.norm1(x)
        x = x + (self.attn(normed) if isinstance(self.attn, PackedSelfAttention) else self.attn(normed, normed))
        return x + self.mlp(self.norm2(x))


class Backbone(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, PATCH, PATCH)
        self.position = nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2, width) * 0.2)
        self.blocks = nn.ModuleList(BackboneBlock(width, packed=index % 2 == 1) for index in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class DecoderLayer(nn.Module):
    """Self-attention among the queries, then cross-attention to the image's tokens by nn.MultiheadAttention.

    `need_weights` is what many models leave at its default: the weights are computed, averaged and dropped."""

    def __init__(self, width, need_weights):
        super().__init__()
        self.self_attn = Attention(width)
        self.cross_attn = nn.MultiheadAttention(width, HEADS, dropout=0.1, batch_first=True)
        self.need_weights = need_weights
        self.mlp = Mlp(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, queries, memory):
        queries = self.norm1(queries + self.self_attn(queries, queries))
        attended, _ = self.cross_attn(queries, memory, memory, need_weights=self.need_weights)
        queries = self.norm2(queries + attended)
        return self.norm3(queries + self.mlp(queries))


class ReparameterisedDecoderLayer(nn.Module):
    """The same with cross-attention out of σReparam projections."""

    def __init__(self, width):
        super().__init__()
        self.cross_attn = Attention(width)
        self.mlp = Mlp(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, queries, memory):
        queries = self.norm1(queries + self.cross_attn(queries, memory))
        return self.norm2(queries + self.mlp(queries))


class QueryDecoder(nn.Module):
    """Learned queries that read the image's tokens: hands in one decoder, objects in the other."""

    def __init__(self, width, queries, need_weights):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, queries, width))
        self.memory_proj = SigmaReparam(width, width)
        self.layers = nn.ModuleList(
            [
                DecoderLayer(width, need_weights),
                ReparameterisedDecoderLayer(width),
                DecoderLayer(width, need_weights),
            ]
        )

    def forward(self, tokens):
        memory = self.memory_proj(tokens)
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            queries = layer(queries, memory)
        return queries


class TemporalFusion(nn.Module):
    """Every frame attends to itself and to the frames before it."""

    def __init__(self, width):
        super().__init__()
        self.arm_proj = SigmaReparam(JOINTS, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attentions = nn.ModuleList(Attention(width) for _ in range(2))
        self.mlp = Mlp(width)

    def forward(self, frames, arm):
        x = frames + self.arm_proj(arm)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(diagonal=1)
        for norm, attention in zip(self.norms, self.attentions):
            normed = norm(x)
            x = x + attention(normed, normed, later)
        return x + self.mlp(x)


class UnifiedManipulationTransformer(nn.Module):
    def __init__(self, width=64, depth=4):
        super().__init__()
        self.backbone = Backbone(width, depth)
        self.feature_proj = SigmaReparam(width, width)
        self.hand_decoder = QueryDecoder(width, queries=2, need_weights=True)
        self.object_decoder = QueryDecoder(width, queries=6, need_weights=False)
        self.temporal_fusion = TemporalFusion(width)
        self.hand_pose = SigmaReparam(width, 9)
        self.hand_contact = SigmaReparam(width, 1)
        self.object_pose = SigmaReparam(width, 9)
        self.object_class = SigmaReparam(width, 12)
        self.action = SigmaReparam(width, JOINTS, bias=False)

    def forward(self, images, arm):
        """images [B, T, 3, 32, 32], arm [B, T, 8]: what the camera saw and where the arm was."""
        batch, frames = images.shape[:2]
        tokens = self.feature_proj(self.backbone(images.flatten(0, 1)))
        hands = self.hand_decoder(tokens)
        objects = self.object_decoder(tokens)
        summary = (tokens.mean(1) + hands.mean(1) + objects.mean(1)).view(batch, frames, -1)
        fused = self.temporal_fusion(summary, arm)
        return {
            "hand_pose": self.hand_pose(hands),
            "hand_contact": torch.sigmoid(self.hand_contact(hands)),
            "object_pose": self.object_pose(objects),
            "object_class": self.object_class(objects),
            "features": fused,
            "action": self.action(fused[:, -1]),
        }


def make_module(width: int = 64) -> nn.Module:
    torch.manual_seed(7)
    module = UnifiedManipulationTransformer(width).eval()
    imitate_training(module)
    return module


def make_inputs(batch: int = 2, frames: int = FRAMES) -> tuple:
    torch.manual_seed(8)
    return (torch.randn(batch, frames, 3, SIDE, SIDE), torch.randn(batch, frames, JOINTS))


def export(width: int = 64) -> torch.jit.ScriptModule:
    with torch.no_grad():
        return torch.jit.trace(make_module(width), make_inputs(), strict=False)
