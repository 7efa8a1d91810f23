// The end of a block whose rows were worked on in parts: by warps that shared the keys of each tile, by blocks that
// shared the tiles (splits.h), or by both. A part is a row's sum of weighted values, with its maximum and sum.
#pragma once

#include "../parameters.h"
#include "../ptx/cluster.cuh"
#include "block_plan.cuh"
#include "partial_row.cuh"
#include "schedule.cuh"
#include "warp_place.cuh"

namespace flashconvert::kernels {

// Leaves the warp's parts of its rows as they are. `columns` and `sums` are those of the tile's first row.
template <class Engine>
__device__ __forceinline__ void store_part(const KernelParameters& p, const Work& work,
                                           const typename Engine::Output& output,
                                           const typename Engine::Softmax& softmax, float* columns, float2* sums) {
  const int lane = lane_index();
  const int first_row = warp_row<Engine>() + lane / 4;
#pragma unroll
  for (int m = 0; m < Engine::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = softmax.total_sum(m, half);
      const int row = first_row + 16 * m + 8 * half;
      if (row >= p.query_length - work.first_row) continue;
      if (lane % 4 == 0) sums[row] = make_float2(softmax.maximum[m][half], sum);
      Engine::store_partial_row(columns + static_cast<std::int64_t>(row) * p.partial_columns, p.partial_columns, output,
                                m, half);
    }
  }
}

// The tile's first row among the block's parts in the workspace.
__device__ __forceinline__ std::int64_t workspace_row(const KernelParameters& p, const Work& work) {
  const std::int64_t head = static_cast<std::int64_t>(blockIdx.y) * p.total_heads + work.batch * p.heads + work.head;
  return head * p.query_length + work.first_row;
}

// For combine_splits.
template <class Engine>
__device__ __forceinline__ void store_part_in_workspace(const KernelParameters& p, const Work& work,
                                                        const typename Engine::Output& output,
                                                        const typename Engine::Softmax& softmax) {
  const std::int64_t row = workspace_row(p, work);
  store_part<Engine>(p, work, output, softmax, p.partial_outputs + row * p.partial_columns,
                     reinterpret_cast<float2*>(p.partial_sums) + row);
}

// The parts of one tile's rows in the shared memory of a block, where its tiles were: [kWarps][rows] of each.
template <int kWarps>
struct PartsOfBlock {
  const char* shared;
  int rows;
  int columns;

  __device__ __forceinline__ float* columns_of(int warp) const {
    return reinterpret_cast<float*>(const_cast<char*>(shared)) + warp * rows * columns;
  }
  __device__ __forceinline__ float2* sums_of(int warp) const {
    return reinterpret_cast<float2*>(columns_of(kWarps)) + warp * rows;
  }
  __device__ __forceinline__ PartialRow part(int warp, int row, int column) const {
    const float2 sums = sums_of(warp)[row];
    return {sums.x, sums.y, *reinterpret_cast<const float4*>(columns_of(warp) + row * columns + column)};
  }
};

// All parts of four columns of a row, in the order of blocks and warps.
template <int kWarps>
__device__ __forceinline__ PartialRow add_parts(const PartsOfBlock<kWarps>& own, int blocks, int row, int column,
                                                float maximum_scale) {
  constexpr int kAtOnce = 8;  // reads that are under way
  PartialRow total = empty_partial_row();
#pragma unroll 1
  for (int first = 0; first < blocks * kWarps; first += kAtOnce) {
    PartialRow parts[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      parts[i] = empty_partial_row();
      const int block = (first + i) / kWarps;
      if (block >= blocks) continue;
      PartsOfBlock<kWarps> its = own;
      if (blocks > 1) its.shared = ptx::address_in_block(own.shared, block);
      parts[i] = its.part((first + i) % kWarps, row, column);
    }
    accumulate(total, parts, maximum_scale);
  }
  return total;
}

// Adds up the parts of the block, or of all blocks of its cluster, which then share the work: four columns of a row a
// thread. Splits that are no cluster leave the sum of their warps' parts in the workspace.
template <class Engine>
__device__ __forceinline__ void combine_parts(const KernelParameters& p, const Work& work,
                                              const typename Engine::Output& output,
                                              const typename Engine::Softmax& softmax, char* shared) {
  using Element = typename Engine::Element;
  const PartsOfBlock<Engine::kKeyWarps> parts = {shared, min(p.query_length - work.first_row, Engine::kRows),
                                                 p.partial_columns};
  static_assert(Engine::kKeyWarps == 1 ||
                    Engine::kKeyWarps * Engine::kRows * (Engine::kHeadDim + 2) * 4 <= SharedMemoryPlan<Engine>::kState,
                "the parts of the warps do not fit where the tiles were");
  const int warp = Engine::kKeyWarps == 1 ? 0 : warp_index() % Engine::kKeyWarps;
  __syncthreads();  // the last reads of the tiles are done
  store_part<Engine>(p, work, output, softmax, parts.columns_of(warp), parts.sums_of(warp));
  if (p.splits_in_cluster) {
    ptx::cluster_sync();
  } else {
    __syncthreads();
  }

  Element* head = static_cast<Element*>(const_cast<void*>(p.output.data)) + work.batch * p.output.batch_stride +
                  work.head * p.output.head_stride;
  const int blocks = p.splits_in_cluster ? p.splits : 1;
  const int row_pieces = p.partial_columns / 4;
  const int first_piece = p.splits_in_cluster ? static_cast<int>(blockIdx.y) * Engine::kThreads : 0;
#pragma unroll 1
  for (int piece = first_piece + static_cast<int>(threadIdx.x); piece < parts.rows * row_pieces;
       piece += blocks * Engine::kThreads) {
    const int row = piece / row_pieces;
    const int column = 4 * (piece - row * row_pieces);
    const PartialRow total = add_parts(parts, blocks, row, column, Engine::Softmax::kMaximumScale);
    if (p.splits == blocks) {
      store_columns(head + output_rows(p)(work.first_row + row) + column, total, finishing_factor(total, p.empty_row),
                    p.value_dim - column, p.vector_stores);
    } else {
      const std::int64_t place = workspace_row(p, work) + row;
      *reinterpret_cast<float4*>(p.partial_outputs + place * p.partial_columns + column) = total.columns;
      if (column == 0) reinterpret_cast<float2*>(p.partial_sums)[place] = make_float2(total.maximum, total.sum);
    }
  }
  if (p.splits_in_cluster) ptx::cluster_sync_reads();  // nobody's shared memory goes before all have read it
}

}  // namespace flashconvert::kernels
