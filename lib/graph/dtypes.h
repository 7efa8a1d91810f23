// What is known of the dtypes of a graph's tensors.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include "graph/graph_facts.h"

namespace flashconvert {

// Whether the tensor is of floating point in every run: by what computes it, by the dtype that it is cast to, or
// because it is stored as such. False where that is not known.
bool is_known_floating(torch::jit::Value* tensor, const GraphFacts& facts);

// The dtype that the operator's `dtype` argument names; nothing where it has none, or none that is a constant.
std::optional<at::ScalarType> named_dtype(const torch::jit::Node* node);

}  // namespace flashconvert
