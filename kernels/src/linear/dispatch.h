// The kernels for linear layers seen from inside: every one that could run a problem, and running one of them by its
// name. For tests and benchmarks.
#pragma once

#include <vector>

#include "flashconvert/kernels/linear.h"

namespace flashconvert::kernels {

// The names of all kernels that take the problem; the first is `select_kernel`'s.
std::vector<const char*> kernels_that_take(const LinearProblem& problem, int compute_capability);

// `workspace_bytes` and `linear_forward` of the kernel of this name, or of the preferred one where it is null.
std::size_t workspace_bytes_with(const char* kernel_name, const LinearProblem& problem, int compute_capability);
int linear_forward_with(const char* kernel_name, const LinearProblem& problem, void* workspace, void* stream);

}  // namespace flashconvert::kernels
