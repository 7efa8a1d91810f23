// Values that are views of another, whatever spells them.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert {

// An element of a list of parts (chunk, split, unbind): unpacked or indexed.
bool is_list_access(const torch::jit::Node* node);

// Whether the value is made of its first operand's elements alone, by a permutation, another shape, a selection or a
// copy; a list of parts and its elements count.
bool is_view_operator(const torch::jit::Node* node);

// The value above all such operators.
torch::jit::Value* root_of_views(torch::jit::Value* value);

}  // namespace flashconvert
