// The second kernel of attention whose keys were split among blocks: adds up their unfinished rows (partial_row.cuh).
//
// A thread has four neighbouring columns of a row (threadIdx.x), and every `blockDim.y`-th split of them; threadIdx.z
// is the row in the block. Splits are added in an order that depends on nothing but their number.
#pragma once

#include "../parameters.h"
#include "../ptx/cache.cuh"
#include "../ptx/dependent_launch.cuh"
#include "partial_row.cuh"
#include "schedule.cuh"

namespace flashconvert::kernels {

// Every `step`-th split of one row from `first` on. Reads of several splits are under way at once; those beyond the
// last give an empty row, which counts for nothing.
__device__ __forceinline__ PartialRow add_splits(const KernelParameters& p, std::int64_t row, int column, int first,
                                                 int step, float maximum_scale) {
  constexpr int kAtOnce = 8;
  const std::int64_t split_rows = static_cast<std::int64_t>(p.total_heads) * p.query_length;
  PartialRow total = empty_partial_row();
  for (int split = first; split < p.splits; split += kAtOnce * step) {
    PartialRow rows[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      rows[i] = empty_partial_row();
      if (split + i * step >= p.splits) continue;
      const std::int64_t place = (split + i * step) * split_rows + row;
      const float2 sums = __ldcg(reinterpret_cast<const float2*>(p.partial_sums) + place);
      rows[i].maximum = sums.x;
      rows[i].sum = sums.y;
      rows[i].columns = __ldcg(reinterpret_cast<const float4*>(p.partial_outputs + place * p.partial_columns + column));
    }
    accumulate(total, rows, maximum_scale);
  }
  return total;
}

// Drops what was read from the second-level cache, which would otherwise write it to memory some day. A line is read by
// eight lanes of one warp, which all have to have come here.
__device__ __forceinline__ void discard_splits(const KernelParameters& p, std::int64_t row, int column, int first,
                                               int step) {
  constexpr int kLineColumns = 32;
  if (column % kLineColumns != 0) return;
  const std::int64_t split_rows = static_cast<std::int64_t>(p.total_heads) * p.query_length;
  for (int split = first; split < p.splits; split += step) {
    ptx::discard_line(p.partial_outputs + (split * split_rows + row) * p.partial_columns + column);
  }
}

// Adds up what the threads of one row found. Afterwards the first has the whole.
__device__ __forceinline__ void add_across_threads(PartialRow& row, float maximum_scale) {
  extern __shared__ __align__(16) char shared[];
  PartialRow* rows = reinterpret_cast<PartialRow*>(shared);
  const int place = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  rows[place] = row;
  __syncthreads();
  if (threadIdx.y != 0) return;
  for (int y = 1; y < blockDim.y; ++y) {
    const PartialRow other[1] = {rows[place + y * blockDim.x]};
    accumulate(row, other, maximum_scale);
  }
}

// Where a row of all heads begins in the output.
template <class T>
__device__ __forceinline__ T* output_row(const KernelParameters& p, int row) {
  const int flat_head = row / p.query_length;
  const int batch = flat_head / p.heads;
  const int head = flat_head - batch * p.heads;
  return static_cast<T*>(const_cast<void*>(p.output.data)) + batch * p.output.batch_stride +
         head * p.output.head_stride + output_rows(p)(row - flat_head * p.query_length);
}

// `discard`: the unfinished rows are so many that their way to memory counts, and each fills whole lines of the cache.
template <class T>
__global__ void combine_splits(const __grid_constant__ KernelParameters p, float maximum_scale, bool discard) {
  ptx::wait_for_previous_kernel();
  const int row = static_cast<int>(blockIdx.x * blockDim.z + threadIdx.z);  // of all heads
  const int column = 4 * static_cast<int>(threadIdx.x);
  const int first = static_cast<int>(threadIdx.y);
  const int step = static_cast<int>(blockDim.y);
  const bool exists = row < p.total_heads * p.query_length;
  PartialRow total = exists ? add_splits(p, row, column, first, step, maximum_scale) : empty_partial_row();
  if (step > 1) add_across_threads(total, maximum_scale);
  if (exists && first == 0) {
    store_columns(output_row<T>(p, row) + column, total, finishing_factor(total, p.empty_row), p.value_dim - column,
                  p.vector_stores);
  }
  if (discard) {
    __syncwarp();
    if (exists) discard_splits(p, row, column, first, step);
  }
}

}  // namespace flashconvert::kernels
