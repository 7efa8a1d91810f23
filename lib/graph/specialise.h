// What a method does in one mode, as a graph: calls taken in, branches taken.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <functional>

#include "graph/graph_facts.h"

namespace flashconvert {

// Takes in the calls for which `wanted` holds, and those of what they bring in, up to `rounds` deep. Says whether there
// was one. Calls of which the code is not known stay. `wanted` is asked of one state of the graph before it changes.
bool inline_calls(torch::jit::Graph& graph, const std::function<bool(torch::jit::Node*)>& wanted, int rounds);

enum class Mode { kEval, kTraining };

// Replaces `training` by what it is in the mode, and each branch whose condition is the same in every run
// (GraphFacts::condition) by the block that it takes; what a scripted model asks of a type is settled by the static
// type. An attribute that any code of the model sets, or that one of its exported methods can set, decides nothing:
// `facts` has to know them (torch/csrc/jit/passes/freeze_module.cpp, recordMutableAttrs, is the same guard). The graph
// is `facts`' method's, or a copy of it.
void specialise_for(Mode mode, torch::jit::Graph& graph, const GraphFacts& facts);

// Whether a node reads the flag `training` of a module.
bool reads_training(const torch::jit::Node* node);

// Whether a node runs when every module is in eval mode: it stands under no branch taken on `training` alone.
bool runs_in_eval(const torch::jit::Node* node);

}  // namespace flashconvert
