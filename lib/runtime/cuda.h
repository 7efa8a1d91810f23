// Attention on CUDA: this project's kernels, through kernels/'s plain interface. Where none of them takes the problem,
// torch's own.
#pragma once

#include "problem.h"

namespace flashconvert::runtime {

// [batch, heads, query_length, value_dim]. No gradients.
Tensor attention_on_cuda(const Problem& problem);

}  // namespace flashconvert::runtime
