// Accepting the survey's proposals in the working copy of a method: each site's original value gives way to its
// replacement, what is then dead goes, and the values around the attention get the names that a person would give them.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <vector>

#include "survey/survey.h"

namespace flashconvert::rewrite {

// Whether a node is an attention of either backend: flashconvert::attention or aten::scaled_dot_product_attention.
bool is_attention(const torch::jit::Node* node);

// Accepts every proposal of the fused sites of `method` and cleans its graph. In-place operators on dead values go with
// them, as far as alias analysis can prove that nothing else sees the write. Proposals of other sites are dropped.
// `original` of a proposal must not be used afterwards; `replacement` and `attention` stand in the graph.
void accept_proposals(survey::MethodSurvey& method);

}  // namespace flashconvert::rewrite
