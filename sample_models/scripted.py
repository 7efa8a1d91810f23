"""(e) scripted: a scripted two-tower model with two methods. Both methods use the same attention submodules, the same
layer object stands at two places of the tree, and all layers share one TorchScript type."""

import math
from typing import Optional

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 4
FEATURES = 12


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.heads = HEADS
        self.head_dim = width // HEADS
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def split_heads(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.size(1), self.heads, self.head_dim).transpose(1, 2)

    def forward(self, query: Tensor, memory: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        q = self.split_heads(self.q_proj(query))
        k = self.split_heads(self.k_proj(memory))
        v = self.split_heads(self.v_proj(memory))
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(self.head_dim)
        if mask is not None:
            scores = scores + mask
        attended = torch.matmul(functional.softmax(scores, dim=-1), v)
        return self.out_proj(attended.transpose(1, 2).reshape(query.size(0), query.size(1), self.heads * self.head_dim))


class Layer(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.attention = Attention(width)
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        x = self.norm(x + self.attention(x, memory, mask))
        return x + functional.relu(self.fc(x))


class TwoTowers(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.embed = nn.Linear(FEATURES, width)
        self.encoder = nn.ModuleList([Layer(width), Layer(width)])
        self.reader = Layer(width)
        self.again = self.reader  # the same object under a second name
        self.head = nn.Linear(width, 5)

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        """x [B, L, 12] to hidden states [B, L, width]."""
        hidden = self.embed(x)
        for layer in self.encoder:
            hidden = layer(hidden, hidden)
        return hidden

    def forward(self, x: Tensor, context: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """x [B, L, 12], context [B, S, 12], mask: None or a float mask that broadcasts to [B, 4, L, S]."""
        hidden = self.encode(x)
        memory = self.encode(context)
        hidden = self.reader(hidden, memory, mask)
        hidden = self.again(hidden, memory)
        return self.head(hidden)


def make_module(width: int = 64) -> nn.Module:
    torch.manual_seed(17)
    return TwoTowers(width).eval()


def make_inputs(batch: int = 2, length: int = 7) -> tuple:
    torch.manual_seed(18)
    mask = torch.randn(batch, 1, length, length + 2)
    return (torch.randn(batch, length, FEATURES), torch.randn(batch, length + 2, FEATURES), mask)


def export(width: int = 64) -> torch.jit.ScriptModule:
    return torch.jit.script(make_module(width))
