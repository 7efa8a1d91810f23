// Whether anything can tell how a tensor lies in memory, or writes there.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert::survey {

// Whether something asks for the strides of the tensor, or rejects some: a `view`, a question, or whoever gets the
// method's result. The product of weights and values is contiguous; what the fused operator gives has features beside
// heads, so that a reshape that merges them is contiguous as well. A reshape of other dimensions, or of a product that
// is transposed in memory (`is_transposed`), may be a view of the one and a copy of the other.
bool strides_matter(const torch::jit::Value* tensor, bool is_transposed = false);

// Whether the strides become numbers of the model's own: `stride`, `as_strided`.
bool strides_are_read(const torch::jit::Value* tensor);

// Whether a `view` takes the tensor with its dimensions in their own order, and so relies on its being contiguous.
bool is_viewed_in_order(const torch::jit::Value* tensor);

// Whether the tensor, or a view of it, is written to.
bool is_written_to(const torch::jit::Value* tensor);

}  // namespace flashconvert::survey
