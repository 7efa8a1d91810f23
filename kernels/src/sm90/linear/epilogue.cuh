// The end of a tile: sums scaled back, bias, activation, residual, and the stores, straight from the registers, so that
// the next tile's operands may already be on their way into all of the shared memory.
#pragma once

#include "../../device/thread.cuh"
#include "../../linear/activation.cuh"
#include "left_operand.cuh"
#include "parameters.h"
#include "product.cuh"

namespace flashconvert::kernels::sm90::linear {

// Where a warp's 16 rows of results go: rows first_left + g and first_left + g + 8 of a lane, columns of a tile.
struct ResultPlace {
  int left;   // this lane's first row
  int right;  // this lane's first column; the others are 1, and multiples of 8 on
};

__device__ __forceinline__ ResultPlace result_place(int first_left, int first_right) {
  const int lane = lane_index();
  return {first_left + lane / 4, first_right + lane % 4 * 2};
}

// A product's element with all that follows it. What is there for each row comes from memory.
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

// Calls visit(index, address) for each of a lane's sums that is an element of the output.
template <class Tile, class Visit>
__device__ __forceinline__ void for_results(const Parameters& p, const ResultPlace& at, const Visit& visit) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (at.left + 8 * half >= p.left_rows) continue;
    float* const row = output_at(p, at.left + 8 * half, at.right);
#pragma unroll
    for (int n = 0; n < Tile::kColumns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (at.right + 8 * n + i < p.right_rows) visit(4 * n + 2 * half + i, row + (8 * n + i) * p.right_stride);
      }
    }
  }
}

// A long sum is added up in parts, each in registers of its own: a running sum of thousands of chunks would be rounded
// too often. What there is so far waits where the results will be, written and read by one thread.
template <class Tile>
__device__ __forceinline__ void store_sums(const Parameters& p, const Sums<Tile>& sums, const ResultPlace& at) {
  for_results<Tile>(p, at, [&](int index, float* to) { *to = sums[index]; });
}
template <class Tile>
__device__ __forceinline__ void add_stored_sums(const Parameters& p, Sums<Tile>& sums, const ResultPlace& at) {
  for_results<Tile>(p, at, [&](int index, const float* from) { sums[index] += *from; });
}

// `columns`: this lane's first, in shared memory: factor and bias. A tile that ends within the output and has no
// residual, with neighbours in one row of the output.
template <class Tile, Activation kActivation>
__device__ __forceinline__ void store_pairs(const Parameters& p, const Sums<Tile>& sums, const ResultPlace& at,
                                            std::uint32_t columns) {
  float* const rows[2] = {output_at(p, at.left, at.right), output_at(p, at.left + 8, at.right)};
#pragma unroll
  for (int n = 0; n < Tile::kColumns / 8; ++n) {
    const float4 pair = ptx::load_shared_16(columns + 64 * n);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int index = 4 * n + 2 * half;
      const float2 values = {kernels::linear::activate<kActivation>(fmaf(sums[index], pair.x, pair.y)),
                             kernels::linear::activate<kActivation>(fmaf(sums[index + 1], pair.z, pair.w))};
      *reinterpret_cast<float2*>(rows[half] + 8 * n) = values;
    }
  }
}

// Any other tile.
template <class Tile, Activation kActivation>
__device__ __forceinline__ void store_singly(const Parameters& p, const Sums<Tile>& sums, const ResultPlace& at,
                                             std::uint32_t columns) {
  float left_bias[2] = {0.F, 0.F};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (p.left_bias != nullptr && at.left + 8 * half < p.left_rows) left_bias[half] = p.left_bias[at.left + 8 * half];
  }
#pragma unroll
  for (int n = 0; n < Tile::kColumns / 8; ++n) {
    const float4 pair = ptx::load_shared_16(columns + 64 * n);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int right = at.right + 8 * n + i;
      const float2 scale = i == 0 ? float2{pair.x, pair.y} : float2{pair.z, pair.w};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int left = at.left + 8 * half;
        if (left >= p.left_rows || right >= p.right_rows) continue;
        float value = fmaf(sums[4 * n + 2 * half + i], scale.x, scale.y + left_bias[half]);
        value = kernels::linear::activate<kActivation>(value);
        if (p.residual != nullptr) {
          value += p.residual[left * p.residual_left_stride + right * p.residual_right_stride];
        }
        *output_at(p, left, right) = value;
      }
    }
  }
}

}  // namespace flashconvert::kernels::sm90::linear
