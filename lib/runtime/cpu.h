// Attention on the CPU: our kernel for bfloat16 where it is faster (cpu_bfloat16.h), torch's flash attention where it
// computes the same function, a composite in pieces that stay in the cache elsewhere. docs/operator.md has the
// measurements behind the choice.
#pragma once

#include "problem.h"

namespace flashconvert::runtime {

// [batch, heads, query_length, value_dim], in any layout. No gradients.
Tensor attention_on_cpu(const Problem& problem);

}  // namespace flashconvert::runtime
