// Branches whose arm is known before the model runs.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>

#include "survey/graph_facts.h"

namespace flashconvert::survey {

// Takes the arm that runs in eval mode where a branch asks for `training`, for a flag or None among the attributes, or
// for a type that is known; then folds constants and removes dead code.
void resolve_branches(std::shared_ptr<torch::jit::Graph>& graph, const GraphFacts& facts);

}  // namespace flashconvert::survey
