// Operators that already hold an attention: scaled_dot_product_attention and torch.nn's fast paths.
#pragma once

#include <memory>
#include <optional>

#include "survey/method_facts.h"
#include "survey/survey.h"

namespace flashconvert::survey {

// aten::scaled_dot_product_attention, aten::_native_multi_head_attention, aten::_transformer_encoder_layer_fwd
bool is_fast_path(const torch::jit::Node* node);  // the last two
bool is_fused_operator(const torch::jit::Node* node);

// The site of one such node: its expression over the attention operator, built and probed. Never empty for them.
std::optional<Site> survey_fused_operator(torch::jit::Node* node, const std::shared_ptr<torch::jit::Graph>& graph,
                                          const MethodFacts& facts, Backend backend);

}  // namespace flashconvert::survey
