// What a method does in eval mode, as a graph: calls inlined, branches on `training` and on plain attributes taken.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert::rewrite::weights {

// Inlines, all the way down, the calls that can concern the value which `marker` takes: those that no input of the
// method reaches, those that change attributes, and those that the value comes out of. The others stay calls: inlining
// a whole model for the sake of one weight takes too long.
void inline_calls(torch::jit::Graph& graph, torch::jit::Node* marker);

// Replaces `training` by false, and each branch whose condition follows from constants and the attributes of `self` by
// the block that it takes.
void resolve_branches(torch::jit::Graph& graph, const torch::jit::Module& self);

}  // namespace flashconvert::rewrite::weights
