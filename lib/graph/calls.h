// Calls of methods and free functions, and what runs when they are made.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include "graph/function_with_graph.h"

namespace flashconvert {

// A CallMethod or CallFunction node.
bool is_call(const torch::jit::Node* node);

// The function that a call runs; null where it is not known (interfaces) or no TorchScript.
torch::jit::GraphFunction* called_function(const torch::jit::Node* call);

// Its graph, likewise.
torch::jit::Graph* callee_graph(const torch::jit::Node* call);

// Its one output; null where it has several, or no graph.
torch::jit::Value* only_result(const torch::jit::Node* call);

// Puts what the call runs in its place.
void inline_call(torch::jit::Node* call);

// Whether an operator of the block, or of the methods and functions that it calls, writes in place or sets an
// attribute. What is not known counts as writing.
bool may_write(const torch::jit::Node* node);
bool may_write(const torch::jit::Block* block);

}  // namespace flashconvert
