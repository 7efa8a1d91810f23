// Submodules that are called with the attention scores: a module that holds a relative position bias, or a scale.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert::survey {

// Whether a call (with the graph that it runs) takes the product of queries and keys, adds to it, scales it or writes
// over it, and leaves the result to a softmax.
bool changes_scores(const torch::jit::Node* call, const torch::jit::Graph* callee);

}  // namespace flashconvert::survey
