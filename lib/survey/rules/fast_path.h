// torch.nn's fast paths as sites: what a trace in eval mode records for MultiheadAttention and TransformerEncoderLayer.
#pragma once

#include "survey/rules/fused_operators.h"

namespace flashconvert::survey {

Site survey_fast_path(torch::jit::Node* node, const std::shared_ptr<torch::jit::Graph>& graph, const GraphFacts& facts,
                      Backend backend);

}  // namespace flashconvert::survey
