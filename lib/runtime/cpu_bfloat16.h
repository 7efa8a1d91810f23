// Attention in bfloat16 by this project's own kernel, on processors with AVX512-BF16 and without AMX: torch's flash
// attention makes use of AMX alone (docs/operator.md has the measurements).
#pragma once

#include "problem.h"

namespace flashconvert::runtime {

bool bfloat16_kernel_takes(const Problem& problem);

// [batch, heads, query_length, value_dim], laid out as `empty_output`. For problems with keys that the kernel takes.
Tensor attention_in_bfloat16(const Problem& problem);

}  // namespace flashconvert::runtime
