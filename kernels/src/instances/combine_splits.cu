// The kernel that adds up the parts of split problems, for every dtype, and its launch.
#include "../device/combine_splits.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "../combine_splits.h"
#include "../device_facts.h"

namespace flashconvert::kernels {
namespace {

// Where a thread would have more splits than it can read at once, several threads share them.
constexpr int kSplitsOfThread = 8;
constexpr int kMostSplitThreads = 8;
constexpr int kThreads = 128;  // of a block, or a few more
constexpr int kMostRows = 64;  // CUDA's limit on the third dimension of a block

// From this size on, dropping the unfinished rows from the cache saves more than it costs: 5 to 7 % of the time of 64
// queries (some 8 MB), and nothing below.
constexpr std::int64_t kLeastBytesToDiscard = 1 << 20;

bool should_discard(const KernelParameters& p) {
  const std::int64_t columns = std::int64_t{p.splits} * p.total_heads * p.query_length * p.partial_columns;
  return p.partial_columns % 32 == 0 && columns * std::int64_t{sizeof(float)} >= kLeastBytesToDiscard;
}

dim3 block_shape(const KernelParameters& p) {
  const int columns = p.partial_columns / 4;
  const int splits = std::min((p.splits + kSplitsOfThread - 1) / kSplitsOfThread, kMostSplitThreads);
  const int rows = std::clamp(kThreads / (columns * splits), 1, kMostRows);
  return dim3(static_cast<unsigned>(columns), static_cast<unsigned>(splits), static_cast<unsigned>(rows));
}

template <class T>
cudaError_t launch(const KernelParameters& p, float maximum_scale, cudaStream_t stream) {
  int compute_capability = 0;
  if (const cudaError_t error = current_compute_capability(compute_capability); error != cudaSuccess) return error;
  const dim3 block = block_shape(p);
  const unsigned rows = static_cast<unsigned>(p.total_heads) * static_cast<unsigned>(p.query_length);
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3((rows + block.z - 1) / block.z);
  config.blockDim = block;
  config.dynamicSmemBytes = block.y > 1 ? block.x * block.y * block.z * sizeof(PartialRow) : 0;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = compute_capability >= 90 ? 1 : 0;
  return cudaLaunchKernelEx(&config, combine_splits<T>, p, maximum_scale, should_discard(p));
}

}  // namespace

cudaError_t launch_combine_splits(DType dtype, const KernelParameters& parameters, float maximum_scale,
                                  cudaStream_t stream) {
  switch (dtype) {
    case DType::kFloat16:
      return launch<__half>(parameters, maximum_scale, stream);
    case DType::kBFloat16:
      return launch<__nv_bfloat16>(parameters, maximum_scale, stream);
    case DType::kFloat32:
      break;
  }
  return launch<float>(parameters, maximum_scale, stream);
}

}  // namespace flashconvert::kernels
