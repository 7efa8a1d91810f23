// As c_api.cpp, for linear layers. `problem` mirrors flashconvert::kernels::LinearProblem field by field.
#include "flashconvert/kernels/linear.h"
#include "linear/dispatch.h"

using flashconvert::kernels::LinearProblem;

extern "C" {

// The name of the kernel that is number `index` (0: the preferred one), or null: then there are no more.
__attribute__((visibility("default"))) const char* flashconvert_bench_linear_kernel(const LinearProblem* problem,
                                                                                    int compute_capability,
                                                                                    std::size_t index) {
  const auto names = flashconvert::kernels::kernels_that_take(*problem, compute_capability);
  return index < names.size() ? names[index] : nullptr;
}

__attribute__((visibility("default"))) std::size_t flashconvert_bench_linear_workspace(const char* kernel_name,
                                                                                       const LinearProblem* problem,
                                                                                       int compute_capability) {
  return flashconvert::kernels::workspace_bytes_with(kernel_name, *problem, compute_capability);
}

__attribute__((visibility("default"))) int flashconvert_bench_linear_forward(const char* kernel_name,
                                                                             const LinearProblem* problem,
                                                                             void* workspace, void* stream) {
  return flashconvert::kernels::linear_forward_with(kernel_name, *problem, workspace, stream);
}

__attribute__((visibility("default"))) std::size_t flashconvert_bench_linear_problem_bytes() {
  return sizeof(LinearProblem);
}
}
