"""Decoders as people write them by hand: causal masks that are stored, built or added, windows, and a cache of keys."""

import math
from functools import partial

import torch
from model_case import ModelCase
from torch import nn

WIDTH = 32
HEADS = 4
LONGEST = 24


class Decoder(nn.Module):
    """One layer of self-attention; subclasses say how the scores are masked: `masked(scores, length)`."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("triangle", torch.tril(torch.ones(LONGEST, LONGEST)).view(1, 1, LONGEST, LONGEST))

    def heads(self, x):
        batch, length, width = x.size()
        return tuple(
            part.view(batch, length, HEADS, width // HEADS).transpose(1, 2) for part in self.qkv(x).split(WIDTH, dim=2)
        )

    def merged(self, y):
        return self.out(y.transpose(1, 2).contiguous().view(y.size(0), y.size(2), WIDTH))

    def forward(self, x):
        query, key, value = self.heads(x)
        scores = query @ key.transpose(-2, -1) * (1.0 / math.sqrt(key.size(-1)))
        return self.merged(torch.softmax(self.masked(scores, x.size(1)), dim=-1) @ value)


class StoredTriangle(Decoder):
    def masked(self, scores, length):
        return scores.masked_fill(self.triangle[:, :, :length, :length] == 0, float("-inf"))


class BuiltTriangle(Decoder):
    def masked(self, scores, length):
        return scores + torch.triu(torch.full((length, length), float("-inf"), device=scores.device), diagonal=1)


class Window(Decoder):
    """Each position sees itself and the three before it."""

    def masked(self, scores, length):
        at = torch.arange(length, device=scores.device)
        distance = at[:, None] - at[None, :]
        return scores.masked_fill((distance < 0) | (distance > 3), torch.finfo(torch.float32).min)


class Slopes(Decoder):
    """ALiBi (Press et al. 2021): a slope for each head, and the triangle in the same tensor."""

    def masked(self, scores, length):
        at = torch.arange(length, device=scores.device)
        slopes = torch.tensor([2.0 ** -(8 * (head + 1) / HEADS) for head in range(HEADS)]).view(HEADS, 1, 1)
        distance = (at[None, :] - at[:, None]).to(torch.float32)
        return scores + (slopes * distance).masked_fill(distance > 0, float("-inf"))


class Strict(Decoder):
    """A near miss: no position sees itself, and the first one nothing at all."""

    def masked(self, scores, length):
        return scores.masked_fill(torch.tril(self.triangle[:, :, :length, :length], -1) == 0, -1e4)


class Padded(Decoder):
    """A triangle of minus infinity beside the padding of each batch entry."""

    def forward(self, x, keep):
        query, key, value = self.heads(x)
        scores = query @ key.transpose(-2, -1) * (1.0 / math.sqrt(key.size(-1)))
        length = x.size(1)
        visible = (self.triangle[:, :, :length, :length] > 0) & keep[:, None, None, :]
        return self.merged(torch.softmax(scores.masked_fill(~visible, float("-inf")), dim=-1) @ value)


class Cached(Decoder):
    """Keys and values of earlier positions stand before those of the new ones, as GPT-2 has it."""

    def forward(self, x, past_key, past_value):
        query, key, value = self.heads(x)
        key = torch.cat((past_key, key), dim=-2)
        value = torch.cat((past_value, value), dim=-2)
        query_length, key_length = query.size(-2), key.size(-2)
        scores = query @ key.transpose(-2, -1) * (1.0 / math.sqrt(key.size(-1)))
        visible = self.triangle.bool()[:, :, key_length - query_length : key_length, :key_length]
        scores = torch.where(visible, scores, torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype))
        return self.merged(torch.softmax(scores, dim=-1) @ value)


class Rearranged(Decoder):
    """Heads cut as einops does it: each part is asked for its own sizes, and the scores for theirs."""

    def heads(self, x):
        parts = self.qkv(x).chunk(3, dim=-1)
        return tuple(t.reshape(t.shape[0], t.shape[1], HEADS, WIDTH // HEADS).permute(0, 2, 1, 3) for t in parts)

    def masked(self, scores, length):
        queries, keys = scores.shape[-2:]
        hidden = torch.ones((queries, keys), dtype=torch.bool, device=scores.device).triu(keys - queries + 1)
        return scores.masked_fill(hidden, -torch.finfo(scores.dtype).max)


class Sdpa(Decoder):
    def forward(self, x):
        query, key, value = self.heads(x)
        length = x.size(1)
        visible = self.triangle[0, 0, :length, :length] > 0
        return self.merged(nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible))


def states(batch, length):
    return (torch.randn(batch, length, WIDTH),)


def padded_states(batch, length):
    lengths = torch.randint(1, length + 1, (batch, 1))
    return (torch.randn(batch, length, WIDTH), torch.arange(length)[None] < lengths)


def cached_states(batch, length):
    past = length // 2
    cache = [torch.randn(batch, HEADS, past, WIDTH // HEADS) for _ in range(2)]
    return (torch.randn(batch, length, WIDTH), *cache)


_case = partial(ModelCase, inputs=states, fused=1, causal=1)

MODELS = [
    _case("decoder_stored_triangle", StoredTriangle),
    _case("decoder_built_triangle", BuiltTriangle),
    _case("decoder_window", Window),
    _case("decoder_slopes", Slopes),
    _case("decoder_strict", Strict, causal=0),
    _case("decoder_padded", Padded, inputs=padded_states),
    _case("decoder_cached", Cached, inputs=cached_states),
    _case("decoder_rearranged", Rearranged),
    _case("decoder_sdpa", Sdpa),
]
