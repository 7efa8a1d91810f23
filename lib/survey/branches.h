// Attention whose scores are made in a branch, as in scripted code that adds a mask where one is given.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>

namespace flashconvert::survey {

// Where the scores of a softmax come from a branch, `s = a if c else b; o = softmax(s) @ v`, the softmax and what
// follows up to the second product move into both arms, `o = softmax(a) @ v if c else softmax(b) @ v`: each arm is then
// an attention that can be read. Left alone where something else sees the weights, or where code in between writes.
void sink_into_branches(const std::shared_ptr<torch::jit::Graph>& graph);

// Whether two nodes stand in different arms of a branch, so that one of them at most runs.
bool exclude_each_other(const torch::jit::Node* a, const torch::jit::Node* b);

// Whether they are, moreover, copies of one node.
bool are_arms_of_one(const torch::jit::Node* a, const torch::jit::Node* b);

// The nodes that run after `first` and before `last`, which stands in the same block or in an arm of a branch further
// down; the other arms are left out. Throws Declined where `last` stands elsewhere.
std::vector<torch::jit::Node*> nodes_between(torch::jit::Node* first, torch::jit::Node* last);

}  // namespace flashconvert::survey
