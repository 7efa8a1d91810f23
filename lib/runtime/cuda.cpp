// See cuda.h. Links no CUDA library of torch's: the runtime is static, and shares the device's primary context (and so
// streams, memory and graph captures) with torch's. The one thing that only libtorch_cuda knows, the current stream, is
// asked of the copy that the process has already loaded.
#include "cuda.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <flashconvert/kernels/attention.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "composite.h"
#include "kernel_record.h"

namespace flashconvert::runtime {
namespace {

void check_cuda(int code, const char* what) {
  if (code != 0) {
    throw std::runtime_error(std::string("flashconvert::attention: ") + what + ": " + kernels::error_string(code));
  }
}

// Makes `device` the current one for as long as it lives.
class CurrentDevice {
public:
  explicit CurrentDevice(int device) {
    check_cuda(cudaGetDevice(&previous_), "cudaGetDevice");
    if (previous_ != device) {
      check_cuda(cudaSetDevice(device), "cudaSetDevice");
      changed_ = true;
    }
  }
  ~CurrentDevice() {
    if (changed_) {
      cudaSetDevice(previous_);
    }
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
  int previous_ = 0;
  bool changed_ = false;
};

int query_compute_capability(int device) {
  int major = 0;
  int minor = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  return major * 10 + minor;
}

int compute_capability(int device) {
  static const std::vector<int> capabilities = [] {
    int count = 0;
    check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    std::vector<int> all;
    all.reserve(static_cast<std::size_t>(count));
    for (int index = 0; index < count; ++index) {
      all.push_back(query_compute_capability(index));
    }
    return all;
  }();
  return capabilities.at(static_cast<std::size_t>(device));
}

using GetCurrentStream = AOTITorchError (*)(std::int32_t device, void** stream);

// Null where the process has no libtorch_cuda under its ordinary name (a static build, say).
GetCurrentStream find_get_current_stream() {
  void* const library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
  void* const handle = library != nullptr ? library : RTLD_DEFAULT;
  return reinterpret_cast<GetCurrentStream>(dlsym(handle, "aoti_torch_get_current_cuda_stream"));
}

GetCurrentStream get_current_stream() {
  static const GetCurrentStream function = find_get_current_stream();
  return function;
}

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
  void* stream = nullptr;
  if (get_current_stream()(device, &stream) != AOTI_TORCH_SUCCESS) {
    throw std::runtime_error("flashconvert::attention: torch gave no current CUDA stream");
  }
  const std::size_t bytes = kernels::workspace_bytes(launch.problem, capability);
  // Freed when this function returns, reused by torch's allocator in the order of the stream: safe.
  std::optional<Tensor> workspace;
  if (bytes > 0) {
    workspace = aten::empty(launch.output, {static_cast<std::int64_t>(bytes)}, ScalarType::Byte);
  }
  check_cuda(kernels::attention_forward(launch.problem, workspace ? workspace->mutable_data_ptr() : nullptr, stream),
             "the kernel did not start");
}

// The kernels have no float64; torch's operators have.
bool kernels_may_take(const Problem& problem) {
  return problem.dtype != ScalarType::Double && get_current_stream() != nullptr;
}

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
