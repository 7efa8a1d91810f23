// Activations that are computed with the linear layer before them, so that its result is not read and written once
// more.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <vector>

namespace flashconvert::rewrite {

// In a method's graph, gives an activation that takes the result of flashconvert::linear, and alone takes it, to the
// operator: exact and tanh GELU, ReLU and SiLU, also where layer and activation are modules of their own that do
// nothing else (the layer's call is then taken in). Returns the operator's nodes that have got one.
std::vector<torch::jit::Node*> fuse_activations(torch::jit::Graph& graph);

}  // namespace flashconvert::rewrite
