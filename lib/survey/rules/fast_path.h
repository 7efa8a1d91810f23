// torch.nn's fast paths as sites: what a trace in eval mode records for MultiheadAttention and TransformerEncoderLayer.
#pragma once

#include "survey/rules/fused_operators.h"

namespace flashconvert::survey {

Site survey_fast_path(torch::jit::Node* node, const std::shared_ptr<torch::jit::Graph>& graph, const MethodFacts& facts,
                      Backend backend);

// For models that also run their layers on nested tensors, which only the operator takes: the replacement that
// survey_fast_path inserted after `before` moves into the branch of ordinary tensors, and the operator itself stays in
// that of nested ones.
void keep_for_nested_tensors(Site& site, torch::jit::Node* node, torch::jit::Node* before);

// Whether the operator stands in such a branch already.
bool is_kept_for_nested_tensors(const torch::jit::Node* node);

}  // namespace flashconvert::survey
