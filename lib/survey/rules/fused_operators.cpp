// Dispatch over the operators that hold a whole attention.
#include "survey/rules/fused_operators.h"

#include "survey/rules/fast_path.h"
#include "survey/rules/sdpa.h"

namespace flashconvert::survey {

namespace {

bool is_sdpa(const torch::jit::Node* node) { return node->kind() == c10::aten::scaled_dot_product_attention; }

}  // namespace

bool is_fast_path(const torch::jit::Node* node) {
  const std::string name = kind_name(node);
  return name == "aten::_native_multi_head_attention" || name == "aten::_transformer_encoder_layer_fwd";
}

bool is_fused_operator(const torch::jit::Node* node) { return is_sdpa(node) || is_fast_path(node); }

std::optional<Site> survey_fused_operator(torch::jit::Node* node, const std::shared_ptr<torch::jit::Graph>& graph,
                                          const MethodFacts& facts, Backend backend) {
  return is_sdpa(node) ? survey_sdpa(node, graph, facts, backend) : survey_fast_path(node, graph, facts, backend);
}

}  // namespace flashconvert::survey
