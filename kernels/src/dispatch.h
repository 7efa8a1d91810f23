// The dispatch table seen from inside: every kernel that could run a problem, and running one of them by its name. For
// tests and benchmarks, which compare kernels that the public interface would never choose on the card at hand.
#pragma once

#include <vector>

#include "flashconvert/kernels/attention.h"

namespace flashconvert::kernels {

// The names of all kernels that take the problem, in order of preference: the first is `select_kernel`'s.
std::vector<const char*> kernels_that_take(const AttentionProblem& problem, int compute_capability);

// `workspace_bytes` of the kernel of this name, or of the preferred one where it is null.
std::size_t workspace_bytes_with(const char* kernel_name, const AttentionProblem& problem, int compute_capability);

// `attention_forward` with the kernel of this name, or with the preferred one where it is null. 801
// (cudaErrorNotSupported) where it does not take the problem. `workspace` has that kernel's `workspace_bytes_with`.
int attention_forward_with(const char* kernel_name, const AttentionProblem& problem, void* workspace, void* stream);

}  // namespace flashconvert::kernels
