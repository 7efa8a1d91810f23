// aten::scaled_dot_product_attention as a site.
#pragma once

#include "survey/rules/fused_operators.h"

namespace flashconvert::survey {

Site survey_sdpa(torch::jit::Node* node, const std::shared_ptr<torch::jit::Graph>& graph, const MethodFacts& facts,
                 Backend backend);

}  // namespace flashconvert::survey
