// Structural equality of two graphs.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert {

// Whether two graphs have the same nodes in the same order, with equal attributes and constants (tensors bit for bit),
// whatever their values are called.
bool same_graph(const torch::jit::Graph& a, const torch::jit::Graph& b);

// The same, where modules may be of other classes. For graphs whose calls are inlined: what a module computes is then
// all in the graph.
bool same_graph_in_any_class(const torch::jit::Graph& a, const torch::jit::Graph& b);

}  // namespace flashconvert
