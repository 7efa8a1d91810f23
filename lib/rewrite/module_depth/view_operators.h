// The operators through which a layout can be followed, by what they do to it. Each predicate looks at the node's kind
// alone; the arguments are layout.cpp's matter.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert::rewrite {

// The same elements in the same places: contiguous, clone, alias.
bool keeps_layout(const torch::jit::Node* node);

// As above, and those whose result has the sizes of their first operand: casts, activations, normalisations.
bool keeps_sizes(const torch::jit::Node* node);

// transpose, permute, t
bool is_permutation(const torch::jit::Node* node);

// view, reshape, flatten, unflatten, squeeze, unsqueeze
bool is_reshape(const torch::jit::Node* node);

// select, slice, narrow: one tensor from one
bool is_feature_selection(const torch::jit::Node* node);

// chunk, split, split_with_sizes, unbind: a list from one tensor
bool is_division_into_list(const torch::jit::Node* node);

// An element of such a list: unpacked or indexed.
bool is_list_access(const torch::jit::Node* node);

// Any of these: the value is made of its first operand's elements alone.
bool is_view_operator(const torch::jit::Node* node);

}  // namespace flashconvert::rewrite
