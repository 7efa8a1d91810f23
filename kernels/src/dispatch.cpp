// The table of kernels and the public functions. A faster kernel for some card or shape is one more row above those
// that it replaces: the first row that takes a problem runs it.
#include "dispatch.h"

#include <cuda_runtime.h>

#include <array>
#include <cstring>

#include "device_facts.h"
#include "flashconvert/kernels/attention.h"
#include "kernel_list.h"
#include "parameters.h"
#include "sm90/operands.h"
#include "splits.h"

namespace flashconvert::kernels {
namespace {

struct Kernel {
  const char* name;
  // The compute capability that it needs; `exact_architecture` for code (sm_90a) that no other architecture runs.
  int compute_capability;
  bool exact_architecture;
  DType dtype;
  int head_dim;   // the largest that it takes
  int value_dim;  // likewise
  // Whether it takes this problem, whose dtype and dimensions fit.
  bool (*accepts)(const AttentionProblem& problem);
  std::size_t (*workspace_bytes)(const AttentionProblem& problem);
  cudaError_t (*launch)(const AttentionProblem& problem, void* workspace, cudaStream_t stream);
};

constexpr int kSm80 = 80;

bool accepts_any(const AttentionProblem& /*problem*/) { return true; }
bool is_short(const AttentionProblem& problem) { return problem.query_length <= 64; }
bool has_keys_to_split(const AttentionProblem& problem) { return problem.key_length >= 1024; }
template <Variant kVariant, Lengths kLengths>
bool accepts(const AttentionProblem& problem) {
  return (kVariant == Variant::kGeneral || is_plain(problem)) && (kLengths == Lengths::kLong || is_short(problem));
}

// `suits`: what a tile asks beyond what it can do.
template <class Tile, bool (*suits)(const AttentionProblem&)>
bool accepts_wgmma(const AttentionProblem& problem) {
  return sm90::takes_scores(problem, Tile::kMode) && sm90::can_run(problem) && suits(problem);
}

template <DType kDType, int kHeadDim, Variant kVariant, Lengths kLengths = Lengths::kLong>
constexpr Kernel mma16(const char* name) {
  return {name,
          kSm80,
          false,
          kDType,
          kHeadDim,
          kHeadDim,
          accepts<kVariant, kLengths>,
          [](const AttentionProblem& problem) {
            return mma16_splits_keys(kHeadDim, kVariant, kLengths)
                       ? split_workspace_bytes(problem, mma16_tile(kHeadDim, kVariant, kLengths))
                       : 0;
          },
          launch_mma16<kDType, kHeadDim, kVariant, kLengths>};
}

// The heads that have no short tiles: their ordinary ones, where splitting the keys among blocks beats Hopper's
// kernels.
template <DType kDType, int kHeadDim, Variant kVariant>
constexpr Kernel mma16_split(const char* name) {
  Kernel kernel = mma16<kDType, kHeadDim, kVariant>(name);
  kernel.accepts = [](const AttentionProblem& problem) {
    return is_short(problem) && has_keys_to_split(problem) && accepts<kVariant, Lengths::kLong>(problem);
  };
  return kernel;
}

constexpr int kSm90 = 90;

template <DType kDType, class Tile, bool (*suits)(const AttentionProblem&) = accepts_any>
constexpr Kernel wgmma(const char* name) {
  return {name,
          kSm90,
          true,
          kDType,
          Tile::kHeadDim,
          Tile::kValueDim,
          accepts_wgmma<Tile, suits>,
          sm90::workspace_bytes,
          launch_sm90<kDType, Tile>};
}

template <int kHeadDim, Lengths kLengths = Lengths::kLong>
constexpr Kernel tf32x3(const char* name) {
  return {
      name,
      kSm80,
      false,
      DType::kFloat32,
      kHeadDim,
      kHeadDim,
      accepts<Variant::kGeneral, kLengths>,
      [](const AttentionProblem& problem) { return split_workspace_bytes(problem, tf32x3_tile(kHeadDim, kLengths)); },
      launch_tf32x3<kHeadDim, kLengths>};
}

constexpr DType kF16 = DType::kFloat16;
constexpr DType kBF16 = DType::kBFloat16;
constexpr Variant kPlain = Variant::kPlain;
constexpr Variant kGeneral = Variant::kGeneral;
constexpr Lengths kShort = Lengths::kShort;

// In order of preference within a dtype: for few queries the short tiles; then Hopper's own; then the general ones.
// Within each the smallest bucket that holds the head, plain before general.
constexpr std::array kKernels = {
    mma16<kF16, 32, kPlain, kShort>("sm80-mma-f16-d32-short"),
    mma16<kF16, 32, kGeneral, kShort>("sm80-mma-f16-d32-general-short"),
    mma16<kF16, 64, kPlain, kShort>("sm80-mma-f16-d64-short"),
    mma16<kF16, 64, kGeneral, kShort>("sm80-mma-f16-d64-general-short"),
    mma16<kF16, 96, kPlain, kShort>("sm80-mma-f16-d96-short"),
    mma16<kF16, 96, kGeneral, kShort>("sm80-mma-f16-d96-general-short"),
    mma16<kF16, 128, kPlain, kShort>("sm80-mma-f16-d128-short"),
    mma16<kF16, 128, kGeneral, kShort>("sm80-mma-f16-d128-general-short"),
    mma16_split<kF16, 192, kPlain>("sm80-mma-f16-d192-short"),
    mma16_split<kF16, 192, kGeneral>("sm80-mma-f16-d192-general-short"),
    mma16_split<kF16, 256, kPlain>("sm80-mma-f16-d256-short"),
    mma16_split<kF16, 256, kGeneral>("sm80-mma-f16-d256-general-short"),
    wgmma<kF16, sm90::D32, sm90::fills_192_rows>("sm90-wgmma-f16-d32"),
    wgmma<kF16, sm90::D64, sm90::fills_192_rows>("sm90-wgmma-f16-d64"),
    wgmma<kF16, sm90::D64Rows128>("sm90-wgmma-f16-d64-rows128"),
    wgmma<kF16, sm90::D96, sm90::fills_192_rows>("sm90-wgmma-f16-d96"),
    wgmma<kF16, sm90::D96Rows128>("sm90-wgmma-f16-d96-rows128"),
    wgmma<kF16, sm90::D128Long, sm90::has_many_keys>("sm90-wgmma-f16-d128-long"),
    wgmma<kF16, sm90::D128>("sm90-wgmma-f16-d128"),
    wgmma<kF16, sm90::D192V128>("sm90-wgmma-f16-d192-v128"),
    wgmma<kF16, sm90::D192>("sm90-wgmma-f16-d192"),
    wgmma<kF16, sm90::D256>("sm90-wgmma-f16-d256"),
    wgmma<kF16, sm90::D64Capped>("sm90-wgmma-f16-d64-capped"),
    wgmma<kF16, sm90::D128Capped>("sm90-wgmma-f16-d128-capped"),
    wgmma<kF16, sm90::D256Capped>("sm90-wgmma-f16-d256-capped"),
    wgmma<kF16, sm90::D64KeyBias>("sm90-wgmma-f16-d64-key-bias"),
    wgmma<kF16, sm90::D128KeyBias>("sm90-wgmma-f16-d128-key-bias"),
    wgmma<kF16, sm90::D64Bias>("sm90-wgmma-f16-d64-bias"),
    wgmma<kF16, sm90::D128Bias>("sm90-wgmma-f16-d128-bias"),
    wgmma<kF16, sm90::D64General>("sm90-wgmma-f16-d64-general"),
    wgmma<kF16, sm90::D128General>("sm90-wgmma-f16-d128-general"),
    wgmma<kF16, sm90::D256General>("sm90-wgmma-f16-d256-general"),
    mma16<kF16, 32, kPlain>("sm80-mma-f16-d32"),
    mma16<kF16, 32, kGeneral>("sm80-mma-f16-d32-general"),
    mma16<kF16, 64, kPlain>("sm80-mma-f16-d64"),
    mma16<kF16, 64, kGeneral>("sm80-mma-f16-d64-general"),
    mma16<kF16, 96, kPlain>("sm80-mma-f16-d96"),
    mma16<kF16, 96, kGeneral>("sm80-mma-f16-d96-general"),
    mma16<kF16, 128, kPlain>("sm80-mma-f16-d128"),
    mma16<kF16, 128, kGeneral>("sm80-mma-f16-d128-general"),
    mma16<kF16, 192, kPlain>("sm80-mma-f16-d192"),
    mma16<kF16, 192, kGeneral>("sm80-mma-f16-d192-general"),
    mma16<kF16, 256, kPlain>("sm80-mma-f16-d256"),
    mma16<kF16, 256, kGeneral>("sm80-mma-f16-d256-general"),
    mma16<kBF16, 32, kPlain, kShort>("sm80-mma-bf16-d32-short"),
    mma16<kBF16, 32, kGeneral, kShort>("sm80-mma-bf16-d32-general-short"),
    mma16<kBF16, 64, kPlain, kShort>("sm80-mma-bf16-d64-short"),
    mma16<kBF16, 64, kGeneral, kShort>("sm80-mma-bf16-d64-general-short"),
    mma16<kBF16, 96, kPlain, kShort>("sm80-mma-bf16-d96-short"),
    mma16<kBF16, 96, kGeneral, kShort>("sm80-mma-bf16-d96-general-short"),
    mma16<kBF16, 128, kPlain, kShort>("sm80-mma-bf16-d128-short"),
    mma16<kBF16, 128, kGeneral, kShort>("sm80-mma-bf16-d128-general-short"),
    mma16_split<kBF16, 192, kPlain>("sm80-mma-bf16-d192-short"),
    mma16_split<kBF16, 192, kGeneral>("sm80-mma-bf16-d192-general-short"),
    mma16_split<kBF16, 256, kPlain>("sm80-mma-bf16-d256-short"),
    mma16_split<kBF16, 256, kGeneral>("sm80-mma-bf16-d256-general-short"),
    wgmma<kBF16, sm90::D32, sm90::fills_192_rows>("sm90-wgmma-bf16-d32"),
    wgmma<kBF16, sm90::D64, sm90::fills_192_rows>("sm90-wgmma-bf16-d64"),
    wgmma<kBF16, sm90::D64Rows128>("sm90-wgmma-bf16-d64-rows128"),
    wgmma<kBF16, sm90::D96, sm90::fills_192_rows>("sm90-wgmma-bf16-d96"),
    wgmma<kBF16, sm90::D96Rows128>("sm90-wgmma-bf16-d96-rows128"),
    wgmma<kBF16, sm90::D128Long, sm90::has_many_keys>("sm90-wgmma-bf16-d128-long"),
    wgmma<kBF16, sm90::D128>("sm90-wgmma-bf16-d128"),
    wgmma<kBF16, sm90::D192V128>("sm90-wgmma-bf16-d192-v128"),
    wgmma<kBF16, sm90::D192>("sm90-wgmma-bf16-d192"),
    wgmma<kBF16, sm90::D256>("sm90-wgmma-bf16-d256"),
    wgmma<kBF16, sm90::D64Capped>("sm90-wgmma-bf16-d64-capped"),
    wgmma<kBF16, sm90::D128Capped>("sm90-wgmma-bf16-d128-capped"),
    wgmma<kBF16, sm90::D256Capped>("sm90-wgmma-bf16-d256-capped"),
    wgmma<kBF16, sm90::D64KeyBias>("sm90-wgmma-bf16-d64-key-bias"),
    wgmma<kBF16, sm90::D128KeyBias>("sm90-wgmma-bf16-d128-key-bias"),
    wgmma<kBF16, sm90::D64Bias>("sm90-wgmma-bf16-d64-bias"),
    wgmma<kBF16, sm90::D128Bias>("sm90-wgmma-bf16-d128-bias"),
    wgmma<kBF16, sm90::D64General>("sm90-wgmma-bf16-d64-general"),
    wgmma<kBF16, sm90::D128General>("sm90-wgmma-bf16-d128-general"),
    wgmma<kBF16, sm90::D256General>("sm90-wgmma-bf16-d256-general"),
    mma16<kBF16, 32, kPlain>("sm80-mma-bf16-d32"),
    mma16<kBF16, 32, kGeneral>("sm80-mma-bf16-d32-general"),
    mma16<kBF16, 64, kPlain>("sm80-mma-bf16-d64"),
    mma16<kBF16, 64, kGeneral>("sm80-mma-bf16-d64-general"),
    mma16<kBF16, 96, kPlain>("sm80-mma-bf16-d96"),
    mma16<kBF16, 96, kGeneral>("sm80-mma-bf16-d96-general"),
    mma16<kBF16, 128, kPlain>("sm80-mma-bf16-d128"),
    mma16<kBF16, 128, kGeneral>("sm80-mma-bf16-d128-general"),
    mma16<kBF16, 192, kPlain>("sm80-mma-bf16-d192"),
    mma16<kBF16, 192, kGeneral>("sm80-mma-bf16-d192-general"),
    mma16<kBF16, 256, kPlain>("sm80-mma-bf16-d256"),
    mma16<kBF16, 256, kGeneral>("sm80-mma-bf16-d256-general"),
    tf32x3<32, kShort>("sm80-tf32x3-f32-d32-short"),
    tf32x3<64, kShort>("sm80-tf32x3-f32-d64-short"),
    tf32x3<96, kShort>("sm80-tf32x3-f32-d96-short"),
    tf32x3<128, kShort>("sm80-tf32x3-f32-d128-short"),
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

bool takes(const Kernel& kernel, const AttentionProblem& problem, int compute_capability) {
  return kernel.dtype == problem.dtype && problem.head_dim <= kernel.head_dim &&
         problem.value_dim <= kernel.value_dim && runs_on(kernel, compute_capability) && kernel.accepts(problem);
}

// The first row that takes the problem (with_heads_in_memory); among those of one name, where a name is given.
const Kernel* find_kernel(const AttentionProblem& problem, int compute_capability, const char* name = nullptr) {
  if (!is_valid(problem)) return nullptr;
  for (const Kernel& kernel : kKernels) {
    if ((name == nullptr || std::strcmp(name, kernel.name) == 0) && takes(kernel, problem, compute_capability)) {
      return &kernel;
    }
  }
  return nullptr;
}

bool is_empty(const AttentionProblem& problem) {
  return problem.batch == 0 || problem.heads == 0 || problem.query_length == 0;
}

}  // namespace

const char* select_kernel(const AttentionProblem& problem, int compute_capability) {
  const Kernel* kernel = find_kernel(with_heads_in_memory(problem), compute_capability);
  return kernel == nullptr ? nullptr : kernel->name;
}

std::size_t workspace_bytes(const AttentionProblem& problem, int compute_capability) {
  return workspace_bytes_with(nullptr, problem, compute_capability);
}

std::size_t workspace_bytes_with(const char* kernel_name, const AttentionProblem& given, int compute_capability) {
  const AttentionProblem problem = with_heads_in_memory(given);
  const Kernel* kernel = find_kernel(problem, compute_capability, kernel_name);
  return kernel == nullptr ? 0 : kernel->workspace_bytes(problem);
}

int attention_forward(const AttentionProblem& problem, void* workspace, void* stream) {
  return attention_forward_with(nullptr, problem, workspace, stream);
}

int attention_forward_with(const char* kernel_name, const AttentionProblem& given, void* workspace, void* stream) {
  const AttentionProblem problem = with_heads_in_memory(given);
  int compute_capability = 0;
  if (const cudaError_t error = current_compute_capability(compute_capability); error != cudaSuccess) return error;
  const Kernel* kernel = find_kernel(problem, compute_capability, kernel_name);
  if (kernel == nullptr) return cudaErrorNotSupported;
  if (is_empty(problem)) return cudaSuccess;
  return kernel->launch(problem, workspace, static_cast<cudaStream_t>(stream));
}

std::vector<const char*> kernels_that_take(const AttentionProblem& given, int compute_capability) {
  const AttentionProblem problem = with_heads_in_memory(given);
  std::vector<const char*> names;
  if (!is_valid(problem)) return names;
  for (const Kernel& kernel : kKernels) {
    if (takes(kernel, problem, compute_capability)) names.push_back(kernel.name);
  }
  return names;
}

const char* error_string(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace flashconvert::kernels
