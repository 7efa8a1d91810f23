// A C entry point to the kernels, so that the benchmark's Python reaches them through ctypes without the operator
// library. `problem` mirrors flashconvert::kernels::AttentionProblem field by field.
#include "dispatch.h"
#include "flashconvert/kernels/attention.h"

extern "C" {

__attribute__((visibility("default"))) const char* flashconvert_bench_kernel(
    const flashconvert::kernels::AttentionProblem* problem, int compute_capability) {
  return flashconvert::kernels::select_kernel(*problem, compute_capability);
}

__attribute__((visibility("default"))) std::size_t flashconvert_bench_workspace(
    const flashconvert::kernels::AttentionProblem* problem, int compute_capability) {
  return flashconvert::kernels::workspace_bytes(*problem, compute_capability);
}

__attribute__((visibility("default"))) std::size_t flashconvert_bench_workspace_with(
    const char* kernel_name, const flashconvert::kernels::AttentionProblem* problem, int compute_capability) {
  return flashconvert::kernels::workspace_bytes_with(kernel_name, *problem, compute_capability);
}

__attribute__((visibility("default"))) int flashconvert_bench_forward(
    const flashconvert::kernels::AttentionProblem* problem, void* workspace, void* stream) {
  return flashconvert::kernels::attention_forward(*problem, workspace, stream);
}

// The name of the kernel that is number `index` in order of preference, or null: then there are no more.
__attribute__((visibility("default"))) const char* flashconvert_bench_candidate(
    const flashconvert::kernels::AttentionProblem* problem, int compute_capability, std::size_t index) {
  const auto names = flashconvert::kernels::kernels_that_take(*problem, compute_capability);
  return index < names.size() ? names[index] : nullptr;
}

__attribute__((visibility("default"))) int flashconvert_bench_forward_with(
    const char* kernel_name, const flashconvert::kernels::AttentionProblem* problem, void* workspace, void* stream) {
  return flashconvert::kernels::attention_forward_with(kernel_name, *problem, workspace, stream);
}

__attribute__((visibility("default"))) std::size_t flashconvert_bench_problem_bytes() {
  return sizeof(flashconvert::kernels::AttentionProblem);
}
}
