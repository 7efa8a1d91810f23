// Walking over the nodes of a graph, blocks inside blocks included.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <functional>

namespace flashconvert {

// Calls `visit` for every node of the block and of the blocks inside it, in program order.
void for_each_node(torch::jit::Block* block, const std::function<void(torch::jit::Node*)>& visit);
void for_each_node(const torch::jit::Block* block, const std::function<void(const torch::jit::Node*)>& visit);

// Whether the predicate holds for one of them; asks no more once it does.
bool any_node(const torch::jit::Block* block, const std::function<bool(const torch::jit::Node*)>& predicate);

// The same for one node and what its blocks hold.
bool any_node_within(const torch::jit::Node* node, const std::function<bool(const torch::jit::Node*)>& predicate);

// Whether the block is one of the node's, or lies inside one.
bool contains(const torch::jit::Node* node, const torch::jit::Block* inner);

// The node of `copy` that stands where `wanted` stands in `original`, which it is a copy of; null where it is not
// there.
torch::jit::Node* counterpart(torch::jit::Block* original, torch::jit::Block* copy, const torch::jit::Node* wanted);

// The first input of the graph, where that is the module whose method it is; null in a graph without one.
torch::jit::Value* self_of(const torch::jit::Graph& graph);

}  // namespace flashconvert
