// The public functions for linear layers.
#include "dispatch.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <string_view>

#include "../device_facts.h"
#include "../sm90/linear/plan.h"

namespace flashconvert::kernels {
namespace {

constexpr int kSm90 = 90;

// Sizes that kernels count in 32 bits, with room for a tile more.
bool is_valid(const LinearProblem& problem) {
  const auto fits = [](std::int64_t size) { return size >= 1 && size < (std::int64_t{1} << 31) - 4096; };
  const auto good = [](const MatrixView& view) { return view.row_stride >= 0 && view.column_stride >= 0; };
  return fits(problem.rows) && fits(problem.in_features) && fits(problem.out_features) && good(problem.input) &&
         good(problem.weight) && problem.output_row_stride >= problem.out_features;
}

// The kernel of this name, or the preferred one where it is null.
sm90::linear::Plan find_plan(const char* name, const LinearProblem& problem, int compute_capability) {
  if (!is_valid(problem) || compute_capability != kSm90) return {};
  return sm90::linear::make_plan(problem, name);
}

}  // namespace

const char* select_kernel(const LinearProblem& problem, int compute_capability) {
  return sm90::linear::kernel_name(find_plan(nullptr, problem, compute_capability));
}

std::size_t workspace_bytes(const LinearProblem& problem, int compute_capability) {
  return workspace_bytes_with(nullptr, problem, compute_capability);
}

std::size_t workspace_bytes_with(const char* kernel_name, const LinearProblem& problem, int compute_capability) {
  return find_plan(kernel_name, problem, compute_capability).workspace_bytes;
}

int linear_forward(const LinearProblem& problem, void* workspace, void* stream) {
  return linear_forward_with(nullptr, problem, workspace, stream);
}

int linear_forward_with(const char* kernel_name, const LinearProblem& problem, void* workspace, void* stream) {
  int compute_capability = 0;
  if (const cudaError_t error = current_compute_capability(compute_capability); error != cudaSuccess) return error;
  const sm90::linear::Plan plan = find_plan(kernel_name, problem, compute_capability);
  if (plan.tile == nullptr) return cudaErrorNotSupported;
  return sm90::linear::launch(plan, problem, workspace, static_cast<cudaStream_t>(stream));
}

std::vector<const char*> kernels_that_take(const LinearProblem& problem, int compute_capability) {
  std::vector<const char*> names;
  if (!is_valid(problem) || compute_capability != kSm90) return names;
  names.push_back(select_kernel(problem, compute_capability));
  for (std::size_t index = 0; sm90::linear::tile_name(index) != nullptr; ++index) {
    if (sm90::linear::tile_name(index) != std::string_view(names.front())) {
      names.push_back(sm90::linear::tile_name(index));
    }
  }
  return names;
}

}  // namespace flashconvert::kernels
