// The end of a tile: sums scaled back, bias, activation, and the stores, straight from the registers, so that
// the next tile's operands may already be on their way into all of the shared memory.
#pragma once

#include "../../device/thread.cuh"
#include "../../linear/activation.cuh"
#include "../../ptx/ldmatrix.cuh"
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
__device__ __forceinline__ float finish(const Parameters& p, float value, int left, int right) {
  if (p.left_bias != nullptr) value += p.left_bias[left];
  if (p.right_bias != nullptr) value += p.right_bias[right];
  kernels::linear::with_constant(p.activation,
                                 [&](auto activation) { value = kernels::linear::activate<activation()>(value); });
  return value;
}

__device__ __forceinline__ float* output_at(const Parameters& p, int left, int right) {
  return p.output + (left * p.left_stride + right * p.right_stride);
}

// Calls visit(index, address) for each of a lane's sums that is an element of the output.
template <class Tile, class Visit>
__device__ __forceinline__ void for_results(const Parameters& p, const ResultPlace& at, const Visit& visit) {
  const bool is_whole = at.left + 8 < p.left_rows && at.right + Tile::kColumns - 7 < p.right_rows;
  if (__all_sync(0xffffffffU, is_whole) && p.right_stride == 1) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float* const row = output_at(p, at.left + 8 * half, at.right);
#pragma unroll
      for (int i = 0; i < Tile::kColumns / 4; ++i) visit(4 * (i / 2) + 2 * half + i % 2, row + (8 * (i / 2) + i % 2));
    }
    return;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 0; i < Tile::kColumns / 4; ++i) {
      const int left = at.left + 8 * half;
      const int right = at.right + 8 * (i / 2) + i % 2;
      if (left < p.left_rows && right < p.right_rows) {
        visit(4 * (i / 2) + 2 * half + i % 2, output_at(p, left, right));
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

// What columns do to a lane's results: factor and bias of two neighbours, for every eight columns. A group of them is
// read before its first result is stored, since a load's way takes longer than what is done with it.
inline constexpr int kGroupOfEights = 4;

struct ColumnScales {
  float4 pairs[kGroupOfEights];

  // `columns`: this lane's first of the group, in shared memory.
  __device__ __forceinline__ ColumnScales(std::uint32_t columns, int eights) {
#pragma unroll
    for (int n = 0; n < kGroupOfEights; ++n) {
      if (n < eights) pairs[n] = ptx::load_shared_16(columns + 64 * n);
    }
  }
  __device__ __forceinline__ float apply(float sum, int n, int i, float more_bias = 0.F) const {
    return i == 0 ? fmaf(sum, pairs[n].x, pairs[n].y + more_bias) : fmaf(sum, pairs[n].z, pairs[n].w + more_bias);
  }
};

// Calls visit(n, scales, n's number in them) for every eight columns of a tile. `columns`: this lane's first.
template <class Tile, class Visit>
__device__ __forceinline__ void for_eights(std::uint32_t columns, const Visit& visit) {
  constexpr int kEights = Tile::kColumns / 8;
#pragma unroll
  for (int first = 0; first < kEights; first += kGroupOfEights) {
    const ColumnScales scales(columns + 64 * first, kEights - first);
#pragma unroll
    for (int n = 0; n < kGroupOfEights; ++n) {
      if (first + n < kEights) visit(first + n, scales, n);
    }
  }
}

// A tile that ends within the output, with neighbours in one row of the output.
template <class Tile, Activation kActivation>
__device__ __forceinline__ void store_pairs(const Parameters& p, const Sums<Tile>& sums, const ResultPlace& at,
                                            std::uint32_t columns) {
  float* const rows[2] = {output_at(p, at.left, at.right), output_at(p, at.left + 8, at.right)};
  for_eights<Tile>(columns, [&](int n, const ColumnScales& scales, int number) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int index = 4 * n + 2 * half;
      const float2 values = {kernels::linear::activate<kActivation>(scales.apply(sums[index], number, 0)),
                             kernels::linear::activate<kActivation>(scales.apply(sums[index + 1], number, 1))};
      *reinterpret_cast<float2*>(rows[half] + 8 * n) = values;
    }
  });
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
  for_eights<Tile>(columns, [&](int n, const ColumnScales& scales, int number) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int right = at.right + 8 * n + i;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int left = at.left + 8 * half;
        if (left >= p.left_rows || right >= p.right_rows) continue;
        float value = scales.apply(sums[4 * n + 2 * half + i], number, i, left_bias[half]);
        value = kernels::linear::activate<kActivation>(value);
        *output_at(p, left, right) = value;
      }
    }
  });
}

}  // namespace flashconvert::kernels::sm90::linear
