"""(c) rotary_decoder: a causal language model with rotary embedding, grouped key/value heads and RMSNorm. Traced."""

import torch
from torch import nn
from torch.nn import functional

HEADS = 4
KEY_HEADS = 2
VOCABULARY = 100


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def repeat_heads(x, times):
    """Gives each group of query heads its key or value head."""
    batch, heads, length, head_dim = x.shape
    return x[:, :, None].expand(batch, heads, times, length, head_dim).reshape(batch, heads * times, length, head_dim)


class CausalAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.head_dim = width // HEADS
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, KEY_HEADS * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, KEY_HEADS * self.head_dim, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, cos, sin, mask):
        batch, length, width = x.shape
        query = self.q_proj(x).view(batch, length, HEADS, self.head_dim).transpose(1, 2)
        key = self.k_proj(x).view(batch, length, KEY_HEADS, self.head_dim).transpose(1, 2)
        value = self.v_proj(x).view(batch, length, KEY_HEADS, self.head_dim).transpose(1, 2)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        key, value = repeat_heads(key, HEADS // KEY_HEADS), repeat_heads(value, HEADS // KEY_HEADS)
        scores = query @ key.transpose(2, 3) * self.head_dim**-0.5 + mask
        weights = functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        return self.o_proj((weights @ value).transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention_norm = RmsNorm(width)
        self.attention = CausalAttention(width)
        self.mlp_norm = RmsNorm(width)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x, cos, sin, mask):
        x = x + self.attention(self.attention_norm(x), cos, sin, mask)
        normed = self.mlp_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class RotaryDecoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        half = width // HEADS // 2
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.register_buffer("frequencies", 10000.0 ** -(torch.arange(half) / half), persistent=False)
        self.blocks = nn.ModuleList(Block(width) for _ in range(3))
        self.norm = RmsNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, ids):
        """ids [B, L] to logits [B, L, vocabulary]."""
        length = ids.shape[1]
        x = self.embedding(ids)
        angles = torch.arange(length, device=ids.device)[:, None] * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        mask = torch.full((length, length), float("-inf"), dtype=x.dtype, device=x.device).triu(diagonal=1)
        for block in self.blocks:
            x = block(x, angles.cos(), angles.sin(), mask)
        return self.head(self.norm(x))


def make_module(width: int = 64) -> nn.Module:
    torch.manual_seed(13)
    return RotaryDecoder(width).eval()


def make_inputs(batch: int = 2, length: int = 9) -> tuple:
    torch.manual_seed(14)
    return (torch.randint(0, VOCABULARY, (batch, length)),)


def export(width: int = 64) -> torch.jit.ScriptModule:
    with torch.no_grad():
        return torch.jit.trace(make_module(width), make_inputs())
