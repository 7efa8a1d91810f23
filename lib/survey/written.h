// Whether a tensor stays what it was when it was made. Unlike torch's alias analysis this looks into the methods that
// are called; what it cannot follow counts as written to.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace flashconvert::survey {

// Whether an in-place operator may change the tensor after it was made: directly, through a view, or in a call.
bool is_written(const torch::jit::Value* value);

// Whether this use of a tensor leaves it as it is, and so do all uses of what may share its memory.
bool only_reads(const torch::jit::Use& use);

}  // namespace flashconvert::survey
