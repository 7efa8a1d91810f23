"""Hugging Face transformers with tiny configurations and random weights, eager and sdpa where a model offers both."""

from functools import partial

import torch
import transformers as hf
from model_case import ModelCase

VOCABULARY = 60
WIDTH = 32
HEADS = 4
SIDE = 32

TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
VISION = {
    "image_size": SIDE,
    "patch_size": 8,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "intermediate_size": 64,
}


def make(model, config, attention: str, **options):
    # `torchscript` asks for tuples instead of dictionaries, and for weights that are not tied.
    return model(config(torchscript=True, attn_implementation=attention, **options))


class Seq2Seq(torch.nn.Module):
    """Names the decoder's argument: traced arguments are positional."""

    def __init__(self, model, encoder_argument: str):
        super().__init__()
        self.model = model
        self.encoder_argument = encoder_argument

    def forward(self, source, decoder_input_ids):
        return self.model(**{self.encoder_argument: source, "decoder_input_ids": decoder_input_ids}, use_cache=False)[0]


class Decoder(torch.nn.Module):
    """A decoder-only model without its key/value cache."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)[0]


class WithoutMask(torch.nn.Module):
    """The same, exported without an attention_mask: its layers are handed a causal mask and nothing else."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.model = decoder.model

    def forward(self, input_ids):
        return self.model(input_ids=input_ids, use_cache=False)[0]


def t5(attention):
    options = {"vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": HEADS}
    return Seq2Seq(make(hf.T5Model, hf.T5Config, attention, **options), "input_ids")


def whisper(attention):
    model = make(
        hf.WhisperModel, hf.WhisperConfig, attention, vocab_size=VOCABULARY, d_model=WIDTH, encoder_layers=2,
        decoder_layers=2, encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=64,
        decoder_ffn_dim=64, num_mel_bins=16, max_source_positions=20, max_target_positions=40, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return Seq2Seq(model, "input_features")


def gpt2(attention):
    options = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": 2, "n_head": HEADS, "n_positions": 40}
    return Decoder(make(hf.GPT2Model, hf.GPT2Config, attention, **options))


def llama(attention):
    return Decoder(make(hf.LlamaModel, hf.LlamaConfig, attention, num_key_value_heads=2, **TEXT))


def mistral(attention):
    return Decoder(make(hf.MistralModel, hf.MistralConfig, attention, num_key_value_heads=2, sliding_window=4, **TEXT))


def gemma2(attention):
    options = {**TEXT, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 16}
    return Decoder(make(hf.Gemma2Model, hf.Gemma2Config, attention, **options))


def without_mask(build):
    return lambda attention: WithoutMask(build(attention))


def in_half(build):
    return lambda attention: build(attention).half()


class ImageAndText(torch.nn.Module):
    """CLIP's similarities and embeddings as a plain tuple."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, pixel_values, attention_mask):
        return self.model(input_ids, pixel_values, attention_mask)[:4]


def clip(attention):
    text = {**TEXT, "eos_token_id": VOCABULARY - 1}
    options = {"text_config": text, "vision_config": VISION, "projection_dim": 16}
    return ImageAndText(make(hf.CLIPModel, hf.CLIPConfig, attention, **options))


def swin(attention):
    return make(
        hf.SwinModel, hf.SwinConfig, attention, image_size=SIDE, patch_size=2, embed_dim=16, depths=[2, 2],
        num_heads=[2, 4], window_size=4,
    )  # fmt: skip


def ids(batch, length):
    return torch.randint(3, VOCABULARY, (batch, length))


def keep(batch, length):
    """1 for a token, 0 for the padding behind it."""
    lengths = torch.randint(1, length + 1, (batch, 1))
    return (torch.arange(length)[None] < lengths).long()


def image(batch, side):
    return (torch.randn(batch, 3, side, side),)


def tokens(batch, length):
    return (ids(batch, length), keep(batch, length))


def tokens_alone(batch, length):
    return (ids(batch, length),)


def tokens_and_image(batch, length):
    return (ids(batch, length), torch.randn(batch, 3, SIDE, SIDE), keep(batch, length))


def two_texts(batch, length):
    return (ids(batch, length), ids(batch, length + 2))


def sound_and_text(batch, length):
    return (torch.randn(batch, 16, 40), ids(batch, length))


def _case(name, build, inputs, fused, attentions=("eager", "sdpa"), **expected):
    return [ModelCase(f"hf_{name}_{a}", partial(build, a), inputs, fused, **expected) for a in attentions]


def _bare(name, model, config, options, inputs, fused, **expected):
    return _case(name, lambda attention: make(model, config, attention, **options), inputs, fused, **expected)


IMAGES = {"shape": (2, SIDE), "other_shapes": ((3, SIDE), (1, SIDE))}

MODELS = [
    *_bare("bert", hf.BertModel, hf.BertConfig, TEXT, tokens, 2),
    *_bare("roberta", hf.RobertaModel, hf.RobertaConfig, TEXT, tokens, 2),
    *_bare("distilbert", hf.DistilBertModel, hf.DistilBertConfig,
           {"vocab_size": VOCABULARY, "dim": WIDTH, "n_layers": 2, "n_heads": HEADS, "hidden_dim": 64}, tokens, 2),
    *_bare("electra", hf.ElectraModel, hf.ElectraConfig, {**TEXT, "embedding_size": 16}, tokens, 2,
           attentions=("eager",)),
    *_bare("deberta_v2", hf.DebertaV2Model, hf.DebertaV2Config,
           {**TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}, tokens, 2,
           attentions=("eager",)),
    *_case("gpt2", gpt2, tokens, 2, attentions=("eager",), causal=2),
    *_case("gpt2", gpt2, tokens, 2, attentions=("sdpa",)),
    *_case("gpt2_half", in_half(gpt2), tokens, 2, attentions=("eager",), causal=2),
    *_case("gpt2_without_mask", without_mask(gpt2), tokens_alone, 2, causal=2),
    *_case("gpt2_half_without_mask", in_half(without_mask(gpt2)), tokens_alone, 2, causal=2),
    *_case("llama", llama, tokens, 2),
    *_case("llama_without_mask", without_mask(llama), tokens_alone, 2, causal=2),
    *_case("mistral_window", mistral, tokens, 2),
    *_case("gemma2_softcap", gemma2, tokens, 2),
    *_case("t5", t5, two_texts, 6, attentions=("eager",)),
    *_case("whisper", whisper, sound_and_text, 6),
    *_bare("vit", hf.ViTModel, hf.ViTConfig, VISION, image, 2, **IMAGES),
    *_bare("dinov2", hf.Dinov2Model, hf.Dinov2Config, VISION, image, 2, **IMAGES),
    *_case("clip", clip, tokens_and_image, 4),
    *_case("swin", swin, image, 4, attentions=("eager",), **IMAGES),
]
