// The end of a tile in float32, as epilogue.cuh is in 16 bits: rows multiplied by their factors and stored straight
// from the registers, 16 bytes at a time where the output's rows allow it.
#pragma once

#include "../device/schedule.cuh"
#include "../device/thread.cuh"
#include "products.cuh"

namespace flashconvert::kernels::sm90 {

template <class Tile>
__device__ __forceinline__ void store_float_output(const KernelParameters& p, const Work& work, int first_row,
                                                   const Accumulators<Tile::kValueDim>& output,
                                                   const float (&factor)[2]) {
  const int lane = lane_index();
  const bool odd = lane % 2 != 0;
  const bool whole_pieces = p.vector_stores && p.value_dim % 4 == 0;
  float* const head = static_cast<float*>(const_cast<void*>(p.output.data)) + work.batch * p.output.batch_stride +
                      work.head * p.output.head_stride;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + 8 * half;
    float* const to = head + row * p.output.row_stride;
#pragma unroll
    for (int block = 0; block < Tile::kValueDim / 8; block += 2) {
      // Even lanes take four columns of the first block, odd ones of the second: their own two and a neighbour's.
      float own[2][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 2; ++j) own[i][j] = output[0][block + i][2 * half + j] * factor[half];
      }
      const float received[2] = {__shfl_xor_sync(0xffffffffU, odd ? own[0][0] : own[1][0], 1),
                                 __shfl_xor_sync(0xffffffffU, odd ? own[0][1] : own[1][1], 1)};
      const float four[4] = {odd ? received[0] : own[0][0], odd ? received[1] : own[0][1],
                             odd ? own[1][0] : received[0], odd ? own[1][1] : received[1]};
      const int column = 8 * block + (odd ? 8 : 0) + lane % 4 / 2 * 4;
      if (row >= p.query_length) continue;
      if (whole_pieces) {
        if (column < p.value_dim) *reinterpret_cast<float4*>(to + column) = {four[0], four[1], four[2], four[3]};
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if (column + i < p.value_dim) to[column + i] = four[i];
        }
      }
    }
  }
}

}  // namespace flashconvert::kernels::sm90
