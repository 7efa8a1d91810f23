// The table of kernels and the public functions. A faster kernel for some card or shape is one more row above those
// that it replaces: the first row that takes a problem runs it.
#include "dispatch.h"

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <string_view>

#include "device_facts.h"
#include "flashconvert/kernels/attention.h"
#include "kernel_list.h"
#include "packed_heads.h"
#include "parameters.h"
#include "sm90/operands.h"
#include "sm90/split_selection.h"
#include "sm90/split_tile.h"
#include "splits.h"

namespace flashconvert::kernels {
namespace {

using KernelName = std::array<char, 40>;

constexpr KernelName full_name(std::string_view engine, DType dtype, std::string_view tile) {
  KernelName name = {};
  std::size_t length = 0;
  const auto append = [&](std::string_view part) {
    for (const char character : part) name[length++] = character;
  };
  append(engine);
  append(dtype == DType::kFloat16 ? "-f16-" : dtype == DType::kBFloat16 ? "-bf16-" : "-f32-");
  append(tile);
  return name;
}

struct Kernel {
  KernelName name;  // ends with a zero
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
// Also when heads are packed, as the short tiles would.
bool has_few_rows(const AttentionProblem& problem) {
  return problem.query_length <= kMostFewRows &&
         make_packed_parameters(problem, kMostPackedQueries).query_length <= kMostFewRows;
}
template <Variant kVariant, Lengths kLengths>
bool accepts(const AttentionProblem& problem) {
  if (kVariant == Variant::kPlain && !is_plain(problem)) return false;
  if (kLengths == Lengths::kFew) return has_few_rows(problem);
  return kLengths != Lengths::kShort || is_short(problem);
}

// `suits`: what a tile asks beyond what it can do.
template <class Tile, bool (*suits)(const AttentionProblem&)>
bool accepts_wgmma(const AttentionProblem& problem) {
  return sm90::takes_scores(problem, Tile::kMode) && sm90::can_run(problem) && suits(problem);
}

template <DType kDType, int kHeadDim, Variant kVariant, Lengths kLengths = Lengths::kLong>
constexpr Kernel mma16(std::string_view tile) {
  return {full_name("sm80-mma", kDType, tile),
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
constexpr Kernel mma16_split(std::string_view tile) {
  Kernel kernel = mma16<kDType, kHeadDim, kVariant>(tile);
  kernel.accepts = [](const AttentionProblem& problem) {
    return is_short(problem) && has_keys_to_split(problem) && accepts<kVariant, Lengths::kLong>(problem);
  };
  return kernel;
}

constexpr int kSm90 = 90;

template <DType kDType, class Tile, bool (*suits)(const AttentionProblem&) = accepts_any>
constexpr Kernel wgmma(std::string_view tile) {
  return {full_name("sm90-wgmma", kDType, tile),
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
constexpr Kernel tf32x3(std::string_view tile) {
  return {
      full_name("sm80-tf32x3", DType::kFloat32, tile),
      kSm80,
      false,
      DType::kFloat32,
      kHeadDim,
      kHeadDim,
      accepts<Variant::kGeneral, kLengths>,
      [](const AttentionProblem& problem) { return split_workspace_bytes(problem, tf32x3_tile(kHeadDim, kLengths)); },
      launch_tf32x3<kHeadDim, kLengths>};
}

template <int kHeadDim>
constexpr Kernel tf32x3_on_hopper(std::string_view tile) {
  Kernel kernel = tf32x3<kHeadDim, Lengths::kLongOnHopper>(tile);
  kernel.name = full_name("sm90-tf32x3", DType::kFloat32, tile);
  kernel.compute_capability = kSm90;
  kernel.exact_architecture = true;  // the next ones do not all have its shared memory
  return kernel;
}

// Whether the operands are split in halves where TF32 would be faster, too: those rows come last, for the tests.
enum class Halving { kWhereWorth, kElsewhere };

template <class Tile, Halving kHalving>
constexpr Kernel halves(std::string_view tile) {
  return {full_name("sm90-fp16x3", DType::kFloat32, tile),
          kSm90,
          true,
          DType::kFloat32,
          Tile::kHeadDim,
          Tile::kValueDim,
          [](const AttentionProblem& problem) {
            return sm90::takes_in_halves(problem, Tile::kMode) &&
                   sm90::is_worth_halving(problem, Tile::kMode) == (kHalving == Halving::kWhereWorth);
          },
          [](const AttentionProblem& problem) { return fp16x3::make_layout(problem, Tile::kSizes).bytes; },
          launch_fp16x3<Tile>};
}

constexpr Variant kPlain = Variant::kPlain;
constexpr Variant kGeneral = Variant::kGeneral;
constexpr Lengths kShort = Lengths::kShort;
constexpr Lengths kFew = Lengths::kFew;

// In order of preference within a dtype: for few queries the short tiles; then Hopper's own; then the general ones.
// Within each the smallest bucket that holds the head, plain before general.
template <DType kDType>
constexpr std::array k16BitKernels = {
    mma16<kDType, 32, kPlain, kShort>("d32-short"),
    mma16<kDType, 32, kGeneral, kFew>("d32-general-few"),
    mma16<kDType, 32, kGeneral, kShort>("d32-general-short"),
    mma16<kDType, 64, kPlain, kShort>("d64-short"),
    mma16<kDType, 64, kGeneral, kFew>("d64-general-few"),
    mma16<kDType, 64, kGeneral, kShort>("d64-general-short"),
    mma16<kDType, 96, kPlain, kShort>("d96-short"),
    mma16<kDType, 96, kGeneral, kFew>("d96-general-few"),
    mma16<kDType, 96, kGeneral, kShort>("d96-general-short"),
    mma16<kDType, 128, kPlain, kShort>("d128-short"),
    mma16<kDType, 128, kGeneral, kFew>("d128-general-few"),
    mma16<kDType, 128, kGeneral, kShort>("d128-general-short"),
    mma16_split<kDType, 192, kPlain>("d192-short"),
    mma16_split<kDType, 192, kGeneral>("d192-general-short"),
    mma16_split<kDType, 256, kPlain>("d256-short"),
    mma16_split<kDType, 256, kGeneral>("d256-general-short"),
    wgmma<kDType, sm90::D32, sm90::fills_192_rows>("d32"),
    wgmma<kDType, sm90::D64, sm90::fills_192_rows>("d64"),
    wgmma<kDType, sm90::D64Rows128>("d64-rows128"),
    wgmma<kDType, sm90::D96, sm90::fills_192_rows>("d96"),
    wgmma<kDType, sm90::D96Rows128>("d96-rows128"),
    wgmma<kDType, sm90::D128Long, sm90::has_many_keys>("d128-long"),
    wgmma<kDType, sm90::D128>("d128"),
    wgmma<kDType, sm90::D192V128>("d192-v128"),
    wgmma<kDType, sm90::D192>("d192"),
    wgmma<kDType, sm90::D256>("d256"),
    wgmma<kDType, sm90::D64Capped>("d64-capped"),
    wgmma<kDType, sm90::D128Capped>("d128-capped"),
    wgmma<kDType, sm90::D256Capped>("d256-capped"),
    wgmma<kDType, sm90::D64KeyBias>("d64-key-bias"),
    wgmma<kDType, sm90::D128KeyBias>("d128-key-bias"),
    wgmma<kDType, sm90::D64Bias>("d64-bias"),
    wgmma<kDType, sm90::D128Bias>("d128-bias"),
    wgmma<kDType, sm90::D64General>("d64-general"),
    wgmma<kDType, sm90::D128General>("d128-general"),
    wgmma<kDType, sm90::D256General>("d256-general"),
    mma16<kDType, 32, kPlain>("d32"),
    mma16<kDType, 32, kGeneral>("d32-general"),
    mma16<kDType, 64, kPlain>("d64"),
    mma16<kDType, 64, kGeneral>("d64-general"),
    mma16<kDType, 96, kPlain>("d96"),
    mma16<kDType, 96, kGeneral>("d96-general"),
    mma16<kDType, 128, kPlain>("d128"),
    mma16<kDType, 128, kGeneral>("d128-general"),
    mma16<kDType, 192, kPlain>("d192"),
    mma16<kDType, 192, kGeneral>("d192-general"),
    mma16<kDType, 256, kPlain>("d256"),
    mma16<kDType, 256, kGeneral>("d256-general"),
};

template <Halving kHalving>
constexpr std::array kKernelsForHalves = {
    halves<sm90::Split32, kHalving>("d32"),
    halves<sm90::Split64, kHalving>("d64"),
    halves<sm90::Split96, kHalving>("d96"),
    halves<sm90::Split128, kHalving>("d128"),
    halves<sm90::Split192, kHalving>("d192"),
    halves<sm90::Split256, kHalving>("d256"),
    halves<sm90::Split64KeyBias, kHalving>("d64-key-bias"),
    halves<sm90::Split128KeyBias, kHalving>("d128-key-bias"),
    halves<sm90::Split64General, kHalving>("d64-general"),
    halves<sm90::Split128General, kHalving>("d128-general"),
};

constexpr std::array kFewFloat32Kernels = {
    tf32x3<32, kFew>("d32-few"),     tf32x3<64, kFew>("d64-few"),       tf32x3<96, kFew>("d96-few"),
    tf32x3<128, kFew>("d128-few"),   tf32x3<32, kShort>("d32-short"),   tf32x3<64, kShort>("d64-short"),
    tf32x3<96, kShort>("d96-short"), tf32x3<128, kShort>("d128-short"),
};

constexpr std::array kFloat32Kernels = {
    tf32x3<32>("d32"),   tf32x3<64>("d64"),   tf32x3<96>("d96"),
    tf32x3<128>("d128"), tf32x3<192>("d192"), tf32x3_on_hopper<256>("d256"),
    tf32x3<256>("d256"),
};

template <std::size_t... kSizes>
constexpr auto joined(const std::array<Kernel, kSizes>&... tables) {
  std::array<Kernel, (kSizes + ...)> all = {};
  std::size_t next = 0;
  const auto append = [&](const auto& table) {
    for (const Kernel& kernel : table) all[next++] = kernel;
  };
  (append(tables), ...);
  return all;
}
constexpr auto kKernels =
    joined(k16BitKernels<DType::kFloat16>, k16BitKernels<DType::kBFloat16>, kFewFloat32Kernels,
           kKernelsForHalves<Halving::kWhereWorth>, kFloat32Kernels, kKernelsForHalves<Halving::kElsewhere>);

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
    if ((name == nullptr || kernel.name.data() == std::string_view(name)) &&
        takes(kernel, problem, compute_capability)) {
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
  return kernel == nullptr ? nullptr : kernel->name.data();
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
    if (takes(kernel, problem, compute_capability)) names.push_back(kernel.name.data());
  }
  return names;
}

const char* error_string(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace flashconvert::kernels
