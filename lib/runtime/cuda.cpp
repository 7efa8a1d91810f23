// See cuda.h.
#include "cuda.h"

#include <flashconvert/kernels/attention.h>

#include <vector>

#include "composite.h"
#include "cuda_device.h"
#include "kernel_record.h"

namespace flashconvert::runtime {
namespace {

// What the kernels read, and the tensors that keep it alive.
struct Launch {
  Tensor query, key, value, output;
  std::optional<Tensor> bias;
  kernels::AttentionProblem problem;
};

Tensor with_unit_stride(const Tensor& tensor) {
  return tensor.size(3) <= 1 || tensor.stride(3) == 1 ? tensor : aten::contiguous(tensor);
}

kernels::TensorView view_of(const Tensor& tensor) {
  return {tensor.const_data_ptr(), tensor.stride(0), tensor.stride(1), tensor.stride(2)};
}

// Batch dimensions of the bias merged wherever one stride walks through both, outermost first.
struct BatchDimension {
  std::int64_t size = 1;
  std::int64_t stride = 0;
};

std::vector<BatchDimension> merged_batch(const Tensor& bias, const Sizes& batch_sizes) {
  std::vector<BatchDimension> merged;
  for (std::size_t dim = 0; dim < batch_sizes.size(); ++dim) {
    const BatchDimension next{batch_sizes[dim], broadcast_stride(bias, static_cast<std::int64_t>(dim))};
    if (next.size == 1) {
      continue;
    }
    if (!merged.empty() && merged.back().stride == next.stride * next.size) {
      merged.back() = {merged.back().size * next.size, next.stride};
    } else {
      merged.push_back(next);
    }
  }
  return merged;
}

kernels::BiasKind kind_of(const Tensor& bias, ScalarType dtype) {
  const ScalarType type = bias.scalar_type();
  if (type == ScalarType::Bool) {
    return kernels::BiasKind::kBoolean;
  }
  return type == dtype ? kernels::BiasKind::kSameAsQuery : kernels::BiasKind::kFloat32;
}

// The kernels split the batch in two at most; a bias that needs more is written out (`bias` becomes the copy).
kernels::BiasView bias_view(const Problem& problem, std::optional<Tensor>& bias) {
  if (!bias) {
    return {};
  }
  std::vector<BatchDimension> batch = merged_batch(*bias, problem.batch_sizes);
  if (batch.size() > 2) {
    bias = bias_in_four_dimensions(problem);
    batch = merged_batch(*bias, {problem.batch});
  }
  kernels::BiasView view;
  view.data = bias->const_data_ptr();
  view.kind = kind_of(*bias, problem.dtype);
  if (batch.size() == 2) {
    view.batch_inner = batch[1].size;
    view.inner_batch_stride = batch[1].stride;
  }
  view.outer_batch_stride = batch.empty() ? 0 : batch[0].stride;
  const std::int64_t rank = bias->dim();
  view.head_stride = broadcast_stride(*bias, rank - 3);
  view.row_stride = broadcast_stride(*bias, rank - 2);
  view.column_stride = broadcast_stride(*bias, rank - 1);
  return view;
}

kernels::DType kernel_dtype(ScalarType dtype) {
  return dtype == ScalarType::Half       ? kernels::DType::kFloat16
         : dtype == ScalarType::BFloat16 ? kernels::DType::kBFloat16
                                         : kernels::DType::kFloat32;
}

Launch prepare(const Problem& problem) {
  Launch launch{with_unit_stride(problem.query),
                with_unit_stride(problem.key),
                with_unit_stride(problem.value),
                empty_output(problem),
                problem.bias,
                {}};
  kernels::AttentionProblem& kernel = launch.problem;
  kernel.dtype = kernel_dtype(problem.dtype);
  kernel.batch = problem.batch;
  kernel.heads = problem.heads;
  kernel.key_heads = problem.key_heads;
  kernel.query_length = problem.query_length;
  kernel.key_length = problem.key_length;
  kernel.head_dim = problem.head_dim;
  kernel.value_dim = problem.value_dim;
  kernel.query = view_of(launch.query);
  kernel.key = view_of(launch.key);
  kernel.value = view_of(launch.value);
  kernel.bias = bias_view(problem, launch.bias);
  kernel.output = launch.output.mutable_data_ptr();
  kernel.output_batch_stride = launch.output.stride(0);
  kernel.output_head_stride = launch.output.stride(1);
  kernel.output_row_stride = launch.output.stride(2);
  kernel.scale = static_cast<float>(problem.scale);
  kernel.softcap = static_cast<float>(problem.softcap);
  kernel.window_left = problem.band.left;
  kernel.window_right = problem.band.right;
  kernel.diagonal = problem.band.diagonal;
  kernel.zero_masked_rows = problem.zero_masked_rows;
  return launch;
}

void run(const Launch& launch, int capability, int device) {
  void* const stream = current_stream(device);
  const std::optional<Tensor> workspace =
      make_workspace(launch.output, kernels::workspace_bytes(launch.problem, capability));
  check_cuda(kernels::attention_forward(launch.problem, data_of(workspace), stream),
             "the attention kernel did not start");
}

// The kernels have no float64; torch's operators have.
bool kernels_may_take(const Problem& problem) { return problem.dtype != ScalarType::Double && knows_current_stream(); }

}  // namespace

Tensor attention_on_cuda(const Problem& problem) {
  if (problem.has_no_result()) {
    return empty_output(problem);
  }
  if (kernels_may_take(problem)) {
    const int device = problem.query.get_device_index();
    const CurrentDevice current(device);
    const int capability = compute_capability(device);
    const Launch launch = prepare(problem);
    if (const char* name = kernels::select_kernel(launch.problem, capability)) {
      run(launch, capability, device);
      record_kernel(name);
      return launch.output;
    }
  }
  return differentiable_attention(problem);
}

}  // namespace flashconvert::runtime
