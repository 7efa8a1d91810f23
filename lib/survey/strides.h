// Whether anything can tell how a tensor lies in memory.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert::survey {

// Whether something asks for the strides of the tensor, or rejects some: a `view`, a question, or whoever gets the
// method's result. The product of weights and values is contiguous; what the fused operator gives need not be.
bool strides_matter(const torch::jit::Value* tensor);

}  // namespace flashconvert::survey
