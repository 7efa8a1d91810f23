// The working copy of a method: the same function, spelled so that the walk can follow it.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/graph_facts.h"
#include "survey/survey.h"

namespace flashconvert::survey {

// Copies the graph of `module`'s method and, in the copy,
//  - inlines free functions that hold attention or a part of it, and calls of submodules without parameters (Dropout,
//    Identity, Softmax, a helper of the author's) that stand between a softmax and a matrix product, and of submodules
//    that add a bias of their own to the scores,
//  - resolves branches on constants, on attributes that nothing changes, and on `training` as in eval mode,
//  - moves a softmax whose scores come from a branch into the arms (branches.h),
//  - replaces in-place operators by their plain forms where nothing else sees the tensor.
// Returns null where the method holds no attention candidate at all (no softmax, no fused attention operator, no call
// of torch.nn.MultiheadAttention).
std::shared_ptr<torch::jit::Graph> canonical_copy(const torch::jit::Module& module, const std::string& method,
                                                  const MutableAttributes* mutable_attributes);

// The modules (paths from self, which is the empty path) of which one in training mode may make the method another
// function: dropout that is active then, a branch that is taken then. Empty where the mode makes no difference. What
// submodules do that are called and not taken in is their own matter.
std::vector<ModulePath> modules_whose_training_matters(const torch::jit::Module& module, const std::string& method,
                                                       const MutableAttributes* mutable_attributes);

// Whether the graph, nested blocks included, has a node that attention can start from: one of the operators, or a call
// of torch.nn.MultiheadAttention.
bool has_attention_candidate(const torch::jit::Block* block);

}  // namespace flashconvert::survey
