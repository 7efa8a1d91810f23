// The definitions of split_rows and pack_rows.
#include "../../../linear/split_rows.h"

#include <cuda_runtime.h>
#include <math_constants.h>

#include <algorithm>

#include "../../../linear/split.cuh"
#include "../../../ptx/dependent_launch.cuh"

namespace flashconvert::kernels::linear {
namespace {

constexpr int kWarps = 8;
constexpr int kLanes = 32;
constexpr int kLaneElements = 8;                       // four pairs, 8 floats apart: 16 bytes of either half
constexpr int kPassElements = kLanes * kLaneElements;  // of a warp
constexpr int kKeptPasses = 4;                         // as many stay in registers between the two passes

struct Row {
  const float* data;
  std::int64_t stride;  // of columns
  int columns;
};

// The eight elements of a lane in a pass, in the order in which their halves are stored: see kGroup.
template <bool kPairs>
__device__ __forceinline__ void load(float (&values)[kLaneElements], const Row& row, int pass) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int first = pass * kPassElements + lane / 4 * kGroup + lane / 2 % 2 * 4 + lane % 2 * 2;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const int column = first + 8 * t;
    if (kPairs && column + 1 < row.columns) {
      const float2 pair = *reinterpret_cast<const float2*>(row.data + column);
      values[2 * t] = pair.x;
      values[2 * t + 1] = pair.y;
    } else {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        values[2 * t + i] = column + i < row.columns ? row.data[(column + i) * row.stride] : 0.F;
      }
    }
  }
}

__device__ __forceinline__ void look_at(const float (&values)[kLaneElements], float& largest) {
#pragma unroll
  for (const float value : values) largest = ptx::max_or_nan(largest, fabsf(value));
}

// Writes the halves, and adds up how many elements lose something.
__device__ __forceinline__ void store(const float (&values)[kLaneElements], float multiplier, float exact_from,
                                      uint4* halves, int pass, int columns, float& lost) {
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  if (pass * kPassElements + lane / 4 * kGroup >= columns) return;
  std::uint32_t high[4];
  std::uint32_t low[4];
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const Halves parts = split_pair(values[2 * t], values[2 * t + 1], multiplier);
    high[t] = parts.high;
    low[t] = parts.low;
  }
#pragma unroll
  for (const float value : values) count_lossy(lost, value, exact_from);
  uint4* const group = halves + (pass * (kPassElements / kGroup) + lane / 4) * 8 + lane % 4;
  group[0] = make_uint4(high[0], high[1], high[2], high[3]);
  group[4] = make_uint4(low[0], low[1], low[2], low[3]);
}

template <bool kPairs>
__global__ void __launch_bounds__(kWarps* kLanes)
    split_rows_kernel(MatrixView matrix, int rows, int columns, uint4* halves, RowScale* scales) {
  ptx::allow_dependent_launch();
  const int index = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kLanes;
  if (index >= rows) return;
  const Row row = {matrix.data + index * matrix.row_stride, matrix.column_stride, columns};
  const int passes = (columns + kPassElements - 1) / kPassElements;

  float kept[kKeptPasses][kLaneElements];
  float largest = 0.F;
#pragma unroll
  for (int pass = 0; pass < kKeptPasses; ++pass) load<kPairs>(kept[pass], row, pass);
#pragma unroll
  for (int pass = 0; pass < kKeptPasses; ++pass) look_at(kept[pass], largest);
#pragma unroll 4
  for (int pass = kKeptPasses; pass < passes; ++pass) {
    float values[kLaneElements];
    load<kPairs>(values, row, pass);
    look_at(values, largest);
  }
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    largest = ptx::max_or_nan(largest, __shfl_xor_sync(0xffffffffU, largest, distance));
  }

  const int exponent = scale_exponent(largest);
  const float multiplier = inverse_power_of(exponent);
  const float exact_from = kExactFrom * power_of(exponent);
  uint4* const own = halves + index * (split_row_halves(columns) / 8);
  float lost = 0.F;
#pragma unroll
  for (int pass = 0; pass < kKeptPasses; ++pass) store(kept[pass], multiplier, exact_from, own, pass, columns, lost);
#pragma unroll 2
  for (int pass = kKeptPasses; pass < passes; ++pass) {
    float values[kLaneElements];
    load<kPairs>(values, row, pass);
    store(values, multiplier, exact_from, own, pass, columns, lost);
  }
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) lost += __shfl_xor_sync(0xffffffffU, lost, distance);
  if (threadIdx.x % kLanes == 0) {
    scales[index] = {power_of(exponent), is_in_range(largest) ? lost * kLossOfElement : CUDART_NAN_F};
  }
}

__global__ void pack_rows_kernel(MatrixView matrix, std::int64_t columns, float* packed, std::int64_t row_stride) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  const std::int64_t row = blockIdx.x;
  if (column >= columns) return;
  packed[row * row_stride + column] = matrix.data[row * matrix.row_stride + column * matrix.column_stride];
}

}  // namespace

cudaError_t split_rows(const MatrixView& matrix, std::int64_t rows, std::int64_t columns, void* halves,
                       RowScale* scales, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((rows + kWarps - 1) / kWarps);
  const bool pairs = matrix.column_stride == 1 && matrix.row_stride % 2 == 0 &&
                     reinterpret_cast<std::uintptr_t>(matrix.data) % sizeof(float2) == 0;
  const auto kernel = pairs ? split_rows_kernel<true> : split_rows_kernel<false>;
  kernel<<<blocks, kWarps * kLanes, 0, stream>>>(matrix, static_cast<int>(rows), static_cast<int>(columns),
                                                 static_cast<uint4*>(halves), scales);
  return cudaGetLastError();
}

cudaError_t pack_rows(const MatrixView& matrix, std::int64_t rows, std::int64_t columns, float* packed,
                      std::int64_t row_stride, cudaStream_t stream) {
  constexpr unsigned kThreads = 256;
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>((columns + kThreads - 1) / kThreads));
  pack_rows_kernel<<<grid, kThreads, 0, stream>>>(matrix, columns, packed, row_stride);
  return cudaGetLastError();
}

}  // namespace flashconvert::kernels::linear
