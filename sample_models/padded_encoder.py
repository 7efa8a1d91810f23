"""(b) padded_encoder: a text encoder in the manner of BERT, with a key padding mask [B, L]. Traced."""

import torch
from torch import nn
from torch.nn import functional

HEADS = 4
VOCABULARY = 100
LONGEST = 64


class SelfAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, padding):
        batch, length, width = x.shape
        query, key, value = (
            projection(x).view(batch, length, HEADS, width // HEADS).permute(0, 2, 1, 3)
            for projection in (self.query, self.key, self.value)
        )
        scores = torch.matmul(query, key.transpose(-1, -2)) / (width // HEADS) ** 0.5
        scores = scores.masked_fill(padding[:, None, None, :], float("-inf"))
        weights = self.dropout(functional.softmax(scores, dim=-1))
        attended = torch.matmul(weights, value).permute(0, 2, 1, 3).contiguous().view(batch, length, width)
        return self.output(attended)


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention = SelfAttention(width)
        self.norm1 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x, padding):
        x = self.norm1(x + self.attention(x, padding))
        return self.norm2(x + self.fc2(functional.gelu(self.fc1(x))))


class PaddedEncoder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, width)
        self.position = nn.Embedding(LONGEST, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(3))

    def forward(self, ids, mask):
        """ids [B, L], mask [B, L]: 1 for a token, 0 for the padding behind it. Returns the mean over the tokens."""
        x = self.token(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))
        padding = mask == 0
        for layer in self.layers:
            x = layer(x, padding)
        kept = mask.unsqueeze(-1).to(x.dtype)
        return (x * kept).sum(1) / kept.sum(1)


def make_module(width: int = 64) -> nn.Module:
    torch.manual_seed(11)
    return PaddedEncoder(width).eval()


def make_inputs(batch: int = 3, length: int = 10) -> tuple:
    torch.manual_seed(12)
    lengths = torch.randint(1, length + 1, (batch, 1))
    mask = (torch.arange(length)[None] < lengths).long()
    return (torch.randint(0, VOCABULARY, (batch, length)), mask)


def export(width: int = 64) -> torch.jit.ScriptModule:
    with torch.no_grad():
        return torch.jit.trace(make_module(width), make_inputs())
