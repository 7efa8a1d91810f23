// What a call of torch.nn.MultiheadAttention says, and the probe that runs the layer beside what replaces it.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>

#include "survey/method_facts.h"
#include "survey/survey.h"

namespace flashconvert::survey {

struct AttentionLayer {
  torch::jit::Node* call = nullptr;
  torch::jit::Module layer;
  torch::jit::Value *query = nullptr, *key = nullptr, *value = nullptr;
  torch::jit::Value *attn_mask = nullptr, *key_padding_mask = nullptr;  // null: none
  torch::jit::Value *need_weights_value = nullptr, *is_causal_value = nullptr;
  std::optional<bool> need_weights;  // where it is a constant
  std::int64_t embed_dim = 0, heads = 0;
  bool batch_first = false;
  bool has_key_bias = false;   // bias_k and bias_v: one more key and value
  bool adds_zero_key = false;  // add_zero_attn: one more of zeros
  bool is_packed = true;       // in_proj_weight; else a weight each
  bool has_bias = true;

  // Whether the layer may run through aten::_native_multi_head_attention: the conditions that do not depend on inputs.
  bool may_take_fast_path() const;
};

// Runs the call and `replacement` on batched and single inputs, without masks and with boolean and additive ones, on
// the layer's fast path and off it. Nothing when they agree; else the reason.
std::optional<std::string> probe_attention_layer(const AttentionLayer& layer, torch::jit::Value* replacement,
                                                 const MethodFacts& facts);

}  // namespace flashconvert::survey
