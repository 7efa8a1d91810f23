// The table of kernels and the public functions. A faster kernel for some card or shape is one more row above those
// that it replaces: the first row that takes a problem runs it.
#include <cuda_runtime.h>

#include <array>
#include <atomic>

#include "flashconvert/kernels/attention.h"
#include "kernel_list.h"
#include "parameters.h"

namespace flashconvert::kernels {
namespace {

struct Kernel {
  const char* name;
  // The compute capability that it needs; `exact_architecture` for code (sm_90a) that no other architecture runs.
  int compute_capability;
  bool exact_architecture;
  DType dtype;
  int largest_dim;  // of head_dim and value_dim
  // Whether it takes this problem, whose dtype and dimensions fit.
  bool (*accepts)(const AttentionProblem& problem);
  std::size_t (*workspace_bytes)(const AttentionProblem& problem);
  cudaError_t (*launch)(const AttentionProblem& problem, void* workspace, cudaStream_t stream);
};

constexpr int kSm80 = 80;

bool accepts_any(const AttentionProblem& /*problem*/) { return true; }
bool is_short(const AttentionProblem& problem) { return problem.query_length <= 64; }
std::size_t no_workspace(const AttentionProblem& /*problem*/) { return 0; }

template <Variant kVariant, Lengths kLengths>
bool accepts(const AttentionProblem& problem) {
  return (kVariant == Variant::kGeneral || is_plain(problem)) && (kLengths == Lengths::kLong || is_short(problem));
}

template <DType kDType, int kHeadDim, Variant kVariant, Lengths kLengths = Lengths::kLong>
constexpr Kernel mma16(const char* name) {
  return {name,
          kSm80,
          false,
          kDType,
          kHeadDim,
          accepts<kVariant, kLengths>,
          no_workspace,
          [](const AttentionProblem& problem, void* /*workspace*/, cudaStream_t stream) {
            return launch_mma16<kDType, kHeadDim, kVariant, kLengths>(problem, stream);
          }};
}

template <int kHeadDim>
constexpr Kernel tf32x3(const char* name) {
  return {name,
          kSm80,
          false,
          DType::kFloat32,
          kHeadDim,
          accepts_any,
          no_workspace,
          [](const AttentionProblem& problem, void* /*workspace*/, cudaStream_t stream) {
            return launch_tf32x3<kHeadDim>(problem, stream);
          }};
}

constexpr DType kF16 = DType::kFloat16;
constexpr DType kBF16 = DType::kBFloat16;
constexpr Variant kPlain = Variant::kPlain;
constexpr Variant kGeneral = Variant::kGeneral;
constexpr Lengths kShort = Lengths::kShort;

// In order of preference within a dtype: the smallest bucket that holds the head; short before long, plain before
// general.
constexpr std::array kKernels = {
    mma16<kF16, 32, kPlain, kShort>("sm80-mma-f16-d32-short"),
    mma16<kF16, 32, kPlain>("sm80-mma-f16-d32"),
    mma16<kF16, 32, kGeneral, kShort>("sm80-mma-f16-d32-general-short"),
    mma16<kF16, 32, kGeneral>("sm80-mma-f16-d32-general"),
    mma16<kF16, 64, kPlain, kShort>("sm80-mma-f16-d64-short"),
    mma16<kF16, 64, kPlain>("sm80-mma-f16-d64"),
    mma16<kF16, 64, kGeneral, kShort>("sm80-mma-f16-d64-general-short"),
    mma16<kF16, 64, kGeneral>("sm80-mma-f16-d64-general"),
    mma16<kF16, 96, kPlain, kShort>("sm80-mma-f16-d96-short"),
    mma16<kF16, 96, kPlain>("sm80-mma-f16-d96"),
    mma16<kF16, 96, kGeneral, kShort>("sm80-mma-f16-d96-general-short"),
    mma16<kF16, 96, kGeneral>("sm80-mma-f16-d96-general"),
    mma16<kF16, 128, kPlain, kShort>("sm80-mma-f16-d128-short"),
    mma16<kF16, 128, kPlain>("sm80-mma-f16-d128"),
    mma16<kF16, 128, kGeneral, kShort>("sm80-mma-f16-d128-general-short"),
    mma16<kF16, 128, kGeneral>("sm80-mma-f16-d128-general"),
    mma16<kF16, 192, kPlain>("sm80-mma-f16-d192"),
    mma16<kF16, 192, kGeneral>("sm80-mma-f16-d192-general"),
    mma16<kF16, 256, kPlain>("sm80-mma-f16-d256"),
    mma16<kF16, 256, kGeneral>("sm80-mma-f16-d256-general"),
    mma16<kBF16, 32, kPlain, kShort>("sm80-mma-bf16-d32-short"),
    mma16<kBF16, 32, kPlain>("sm80-mma-bf16-d32"),
    mma16<kBF16, 32, kGeneral, kShort>("sm80-mma-bf16-d32-general-short"),
    mma16<kBF16, 32, kGeneral>("sm80-mma-bf16-d32-general"),
    mma16<kBF16, 64, kPlain, kShort>("sm80-mma-bf16-d64-short"),
    mma16<kBF16, 64, kPlain>("sm80-mma-bf16-d64"),
    mma16<kBF16, 64, kGeneral, kShort>("sm80-mma-bf16-d64-general-short"),
    mma16<kBF16, 64, kGeneral>("sm80-mma-bf16-d64-general"),
    mma16<kBF16, 96, kPlain, kShort>("sm80-mma-bf16-d96-short"),
    mma16<kBF16, 96, kPlain>("sm80-mma-bf16-d96"),
    mma16<kBF16, 96, kGeneral, kShort>("sm80-mma-bf16-d96-general-short"),
    mma16<kBF16, 96, kGeneral>("sm80-mma-bf16-d96-general"),
    mma16<kBF16, 128, kPlain, kShort>("sm80-mma-bf16-d128-short"),
    mma16<kBF16, 128, kPlain>("sm80-mma-bf16-d128"),
    mma16<kBF16, 128, kGeneral, kShort>("sm80-mma-bf16-d128-general-short"),
    mma16<kBF16, 128, kGeneral>("sm80-mma-bf16-d128-general"),
    mma16<kBF16, 192, kPlain>("sm80-mma-bf16-d192"),
    mma16<kBF16, 192, kGeneral>("sm80-mma-bf16-d192-general"),
    mma16<kBF16, 256, kPlain>("sm80-mma-bf16-d256"),
    mma16<kBF16, 256, kGeneral>("sm80-mma-bf16-d256-general"),
    tf32x3<32>("sm80-tf32x3-f32-d32"),
    tf32x3<64>("sm80-tf32x3-f32-d64"),
    tf32x3<96>("sm80-tf32x3-f32-d96"),
    tf32x3<128>("sm80-tf32x3-f32-d128"),
    tf32x3<192>("sm80-tf32x3-f32-d192"),
    tf32x3<256>("sm80-tf32x3-f32-d256"),
};

bool runs_on(const Kernel& kernel, int compute_capability) {
  return kernel.exact_architecture ? compute_capability == kernel.compute_capability
                                   : compute_capability >= kernel.compute_capability;
}

const Kernel* find_kernel(const AttentionProblem& problem, int compute_capability) {
  if (!is_valid(problem)) return nullptr;
  const std::int64_t largest_dim = problem.head_dim > problem.value_dim ? problem.head_dim : problem.value_dim;
  for (const Kernel& kernel : kKernels) {
    if (kernel.dtype == problem.dtype && largest_dim <= kernel.largest_dim && runs_on(kernel, compute_capability) &&
        kernel.accepts(problem)) {
      return &kernel;
    }
  }
  return nullptr;
}

// The current device's compute capability, asked once per device: the answer never changes.
cudaError_t current_compute_capability(int& compute_capability) {
  static std::array<std::atomic<int>, 64> known{};
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const bool cached = device < static_cast<int>(known.size());
  if (cached) {
    compute_capability = known[static_cast<std::size_t>(device)].load(std::memory_order_relaxed);
    if (compute_capability != 0) return cudaSuccess;
  }
  int major = 0;
  int minor = 0;
  if (const cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
      error != cudaSuccess) {
    return error;
  }
  compute_capability = major * 10 + minor;
  if (cached) known[static_cast<std::size_t>(device)].store(compute_capability, std::memory_order_relaxed);
  return cudaSuccess;
}

bool is_empty(const AttentionProblem& problem) {
  return problem.batch == 0 || problem.heads == 0 || problem.query_length == 0;
}

}  // namespace

const char* select_kernel(const AttentionProblem& problem, int compute_capability) {
  const Kernel* kernel = find_kernel(problem, compute_capability);
  return kernel == nullptr ? nullptr : kernel->name;
}

std::size_t workspace_bytes(const AttentionProblem& problem, int compute_capability) {
  const Kernel* kernel = find_kernel(problem, compute_capability);
  return kernel == nullptr ? 0 : kernel->workspace_bytes(problem);
}

int attention_forward(const AttentionProblem& problem, void* workspace, void* stream) {
  int compute_capability = 0;
  if (const cudaError_t error = current_compute_capability(compute_capability); error != cudaSuccess) return error;
  const Kernel* kernel = find_kernel(problem, compute_capability);
  if (kernel == nullptr) return cudaErrorNotSupported;
  if (is_empty(problem)) return cudaSuccess;
  return kernel->launch(problem, workspace, static_cast<cudaStream_t>(stream));
}

const char* error_string(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace flashconvert::kernels
