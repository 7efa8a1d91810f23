// The end of a tile: sums scaled back, bias, activation, residual, and the stores, straight from the registers, so that
// the next tile's operands may already be on their way into all of the shared memory. Results that a split may have
// spoilt are counted here, and computed again (repair.cuh).
#pragma once

#include "../../linear/activation.cuh"
#include "left_operand.cuh"
#include "parameters.h"
#include "product.cuh"
#include "schedule.cuh"

namespace flashconvert::kernels::sm90::linear {

// A sum of the product as what it becomes.
template <Activation kActivation>
__device__ __forceinline__ float finish(const Parameters& p, float value, int left, int right) {
  if (p.left_bias != nullptr) value += p.left_bias[left];
  if (p.right_bias != nullptr) value += p.right_bias[right];
  value = kernels::linear::activate<kActivation>(value);
  if (p.residual != nullptr) value += p.residual[left * p.residual_left_stride + right * p.residual_right_stride];
  return value;
}

__device__ __forceinline__ float* output_at(const Parameters& p, int left, int right) {
  return p.output + (left * p.left_stride + right * p.right_stride);
}

// One bit for each of a lane's results, in the order of its accumulators.
template <class Tile>
struct Suspects {
  static constexpr int kWords = (Tile::kColumns / 2 + 31) / 32;
  std::uint32_t words[kWords];
};

// Stores a warp's 16 rows from `first_left`. `loss` and `largest` of the rows g and g + 8, equal in the four lanes.
template <class Tile, Activation kActivation>
__device__ __forceinline__ void store_results(const Parameters& p, const Sums<Tile>& sums, const RowState& rows,
                                              int first_left, int first_right, Suspects<Tile>& suspects) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
#pragma unroll
  for (std::uint32_t& word : suspects.words) word = 0;
#pragma unroll
  for (int n = 0; n < Tile::kColumns / 8; ++n) {
    const int right = first_right + 8 * n + lane % 4 * 2;
    // Two entries of the table, whose length is even.
    const float4 scales = right < p.right_rows ? *reinterpret_cast<const float4*>(p.right_scales + right)
                                               : make_float4(0.F, 0.F, 0.F, 0.F);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int left = first_left + lane / 4 + 8 * half;
      if (left >= p.left_rows || right >= p.right_rows) continue;
      float values[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int index = 4 * n + 2 * half + i;
        const float sum = sums[index];
        const float least = fmaf(i == 0 ? scales.y : scales.w, rows.largest[half], rows.loss[half]);
        // A comparison with NaN is false: a NaN, for whatever reason, is looked at again.
        if (!(fabsf(sum) >= least) && right + i < p.right_rows) suspects.words[index / 32] |= 1U << (index % 32);
        values[i] = sum * (i == 0 ? scales.x : scales.z);
      }
      float* const to = output_at(p, left, right);
      const bool has_second = right + 1 < p.right_rows;
      values[0] = finish<kActivation>(p, values[0], left, right);
      if (has_second) values[1] = finish<kActivation>(p, values[1], left, right + 1);
      if (p.stores_pairs && has_second) {
        *reinterpret_cast<float2*>(to) = make_float2(values[0], values[1]);
      } else {
        to[0] = values[0];
        if (has_second) to[p.right_stride] = values[1];
      }
    }
  }
}

}  // namespace flashconvert::kernels::sm90::linear
