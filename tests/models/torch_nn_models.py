"""torch.nn's attention layers, in all the forms in which they reach a checkpoint: traced through the fast path, traced
with it off, and scripted with both behind branches."""

import torch
from model_case import ModelCase
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

WIDTH = 32
HEADS = 4


class SelfAttention(nn.Module):
    """nn.MultiheadAttention as most models call it: q = k = v, the weights computed (the default) or not."""

    def __init__(self, need_weights: bool = False, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **options)
        self.need_weights = need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


class ReturnedWeights(nn.Module):
    """The one form that may not be fused: the caller gets the attention weights."""

    def __init__(self, average: bool = True):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.average = average

    def forward(self, x):
        return self.attention(x, x, x, need_weights=True, average_attn_weights=self.average)


class ReparameterisedOutput(SelfAttention):
    """The layer's own code takes `out_proj.weight`, which a parametrization computes at every call."""

    def __init__(self, parametrization):
        super().__init__()
        parametrization(self.attention.out_proj)


class CrossAttention(nn.Module):
    def __init__(self, need_weights: bool = False, batch_first: bool = True, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first, **options)
        self.need_weights = need_weights

    def forward(self, query, memory):
        return self.attention(query, memory, memory, need_weights=self.need_weights)[0]


class SeparateKeyAndValue(nn.Module):
    """kdim and vdim: three projections of three widths (q_proj_weight, k_proj_weight, v_proj_weight)."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, kdim=24, vdim=40, batch_first=True)

    def forward(self, query, key, value):
        return self.attention(query, key, value, need_weights=False)[0]


class PaddedAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x, key_padding_mask):
        return self.attention(x, x, x, key_padding_mask=key_padding_mask, need_weights=False)[0]


class MaskedAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, x, mask):
        return self.attention(x, x, x, need_weights=False, attn_mask=mask)[0]


class PaddedAndMaskedAttention(nn.Module):
    def __init__(self, need_weights: bool = False):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x, key_padding_mask, mask):
        return self.attention(
            x, x, x, key_padding_mask=key_padding_mask, need_weights=self.need_weights, attn_mask=mask
        )[0]


class PaddedEncoder(nn.Module):
    """Names the argument of the layer or stack: traced arguments are positional."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x, key_padding_mask):
        return self.encoder(x, src_key_padding_mask=key_padding_mask)


class CausalEncoderLayer(nn.Module):
    """A causal mask built from the input's length, as language models do."""

    def __init__(self):
        super().__init__()
        self.layer = encoder_layer()

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1), device=x.device)
        return self.layer(x, src_mask=mask, is_causal=True)


class CausalDecoder(nn.Module):
    def __init__(self, batch_first: bool = True):
        super().__init__()
        self.decoder = nn.TransformerDecoder(decoder_layer(batch_first=batch_first), 2)
        self.length_dimension = 1 if batch_first else 0

    def forward(self, target, memory):
        length = target.size(self.length_dimension)
        mask = torch.triu(torch.full((length, length), float("-inf"), device=target.device), diagonal=1)
        return self.decoder(target, memory, tgt_mask=mask)


def encoder_layer(**options):
    options = {"batch_first": True, "dropout": 0.1, "dim_feedforward": 2 * WIDTH, **options}
    return nn.TransformerEncoderLayer(WIDTH, HEADS, **options)


def decoder_layer(**options):
    options = {"batch_first": True, "dropout": 0.1, "dim_feedforward": 2 * WIDTH, **options}
    return nn.TransformerDecoderLayer(WIDTH, HEADS, **options)


def encoder(nested: bool = False, **options):
    return nn.TransformerEncoder(encoder_layer(**options), 2, enable_nested_tensor=nested)


def sequence(batch, length, width=WIDTH):
    return torch.randn(batch, length, width)


def padding(batch, length):
    """True where a key is padding: every row keeps its first key."""
    lengths = torch.randint(1, length + 1, (batch, 1))
    return torch.arange(length)[None] >= lengths


def one(batch, length):
    return (sequence(batch, length),)


def one_length_first(batch, length):
    return (sequence(length, batch),)


def two(batch, length):
    return (sequence(batch, length), sequence(batch, length + 3))


def two_length_first(batch, length):
    return (sequence(length, batch), sequence(length + 3, batch))


def with_padding(batch, length):
    return (sequence(batch, length), padding(batch, length))


def with_float_mask(batch, length):
    return (sequence(batch, length), torch.randn(length, length))


def with_boolean_mask(batch, length):
    return (sequence(batch, length), torch.triu(torch.ones(length, length, dtype=torch.bool), diagonal=1))


def with_both_masks(batch, length):
    return (sequence(batch, length), padding(batch, length), torch.randn(length, length).tril())


def with_mask_per_head(batch, length):
    return (sequence(batch, length), torch.randn(batch * HEADS, length, length))


def three_widths(batch, length):
    return (sequence(batch, length), sequence(batch, length + 2, 24), sequence(batch, length + 2, 40))


def _in_each_form(name, make, inputs, fused, forms=("fast", "slow", "scripted"), **expected):
    """A case for each way in which the same layer is exported."""
    made = []
    if "fast" in forms:
        made.append(ModelCase(f"nn_{name}_fast_path", make, inputs, fused, **expected))
    if "slow" in forms:
        made.append(ModelCase(f"nn_{name}_traced", make, inputs, fused, fast_path=False, **expected))
    if "scripted" in forms:
        made.append(ModelCase(f"nn_{name}_scripted", make, inputs, fused, scripted=True, **expected))
    return made


TRACED = ("fast", "slow")

MODELS = [
    *_in_each_form("mha", SelfAttention, one, 1),
    # torch's own code does not script without a bias.
    *_in_each_form("mha_no_bias", lambda: SelfAttention(bias=False), one, 1, forms=TRACED),
    *_in_each_form("mha_weights_dropped", lambda: SelfAttention(need_weights=True), one, 1),
    *_in_each_form("mha_weights_returned", ReturnedWeights, one, 0, declined=("weights",)),
    *_in_each_form("mha_head_weights_returned", lambda: ReturnedWeights(average=False), one, 0, declined=("weights",)),
    *_in_each_form("mha_weight_norm", lambda: ReparameterisedOutput(weight_norm), one, 1, forms=TRACED, folded=1),
    *_in_each_form("mha_spectral_norm", lambda: ReparameterisedOutput(spectral_norm), one, 1, forms=TRACED, folded=1),
    *_in_each_form("mha_add_bias_kv", lambda: SelfAttention(add_bias_kv=True), one, 1),
    *_in_each_form("mha_add_zero_attn", lambda: SelfAttention(add_zero_attn=True), one, 1),
    *_in_each_form("mha_cross", CrossAttention, two, 1),
    *_in_each_form("mha_cross_weights_dropped", lambda: CrossAttention(need_weights=True), two, 1),
    *_in_each_form("mha_cross_length_first", lambda: CrossAttention(batch_first=False), two_length_first, 1),
    *_in_each_form("mha_kdim_vdim", SeparateKeyAndValue, three_widths, 1),
    *_in_each_form("mha_padding", PaddedAttention, with_padding, 1),
    *_in_each_form("mha_float_mask", MaskedAttention, with_float_mask, 1),
    *_in_each_form("mha_boolean_mask", MaskedAttention, with_boolean_mask, 1),
    *_in_each_form("mha_mask_per_head", MaskedAttention, with_mask_per_head, 1),
    *_in_each_form("mha_both_masks", PaddedAndMaskedAttention, with_both_masks, 1),
    *_in_each_form("mha_both_masks_weights_dropped", lambda: PaddedAndMaskedAttention(need_weights=True), with_both_masks, 1),
    *_in_each_form("encoder_layer", encoder_layer, one, 1),
    *_in_each_form("encoder_layer_length_first", lambda: encoder_layer(batch_first=False), one_length_first, 1),
    *_in_each_form("encoder_layer_norm_first", lambda: encoder_layer(norm_first=True, activation="gelu"), one, 1),
    *_in_each_form("encoder_layer_padding", lambda: PaddedEncoder(encoder_layer()), with_padding, 1),
    *_in_each_form("encoder_layer_causal", CausalEncoderLayer, one, 1, forms=TRACED),
    *_in_each_form("encoder", encoder, one, 2),
    *_in_each_form("encoder_padding", lambda: PaddedEncoder(encoder()), with_padding, 2),
    # nn.TransformerEncoder's default: with a padding mask, its fast path runs on nested tensors, which have no one length.
    *_in_each_form("encoder_nested", lambda: PaddedEncoder(encoder(nested=True)), with_padding, 0, forms=("fast",),
                   declined=("nested", "nested")),
    *_in_each_form("encoder_nested", lambda: PaddedEncoder(encoder(nested=True)), with_padding, 2,
                   forms=("slow", "scripted")),
    *_in_each_form("decoder_layer", decoder_layer, two, 2),
    *_in_each_form("decoder", CausalDecoder, two, 4),
    *_in_each_form("decoder_length_first", lambda: CausalDecoder(batch_first=False), two_length_first, 4, forms=TRACED),
    *_in_each_form(
        "transformer",
        lambda: nn.Transformer(WIDTH, HEADS, 2, 2, 2 * WIDTH, batch_first=True),
        two,
        6,
    ),
]
