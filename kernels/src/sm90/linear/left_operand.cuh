// The left operand on its way from shared memory to the tensor cores: a warp's 16 rows of a chunk, scaled and split in
// registers. Each row of a chunk has a scale of its own, which is found here; no pass over the whole row is needed.
#pragma once

#include <math_constants.h>

#include "../../linear/split.cuh"
#include "../../ptx/ldmatrix.cuh"
#include "../../ptx/wgmma.cuh"
#include "tile.h"

namespace flashconvert::kernels::sm90::linear {

inline constexpr int kSteps = kChunk / 16;  // of wgmma's inner dimension

// wgmma's A operand.
struct LeftHalves {
  std::uint32_t high[kSteps][4];
  std::uint32_t low[kSteps][4];

  // After the wait for products that read them: see ptx::pin_operands.
  __device__ __forceinline__ void pin() {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      ptx::pin_operands(high[step]);
      ptx::pin_operands(low[step]);
    }
  }
};

// Two biased exponents in one register, for the rows g and g + 8 of a lane.
struct ExponentPair {
  std::uint32_t packed;

  __device__ __forceinline__ static ExponentPair of(int first, int second) {
    return {static_cast<std::uint32_t>(first | second << 16)};
  }
  __device__ __forceinline__ int operator[](int r) const {
    return static_cast<int>(r == 0 ? packed & 0xffffU : packed >> 16);
  }
};

// What becomes of a lane's two rows over all chunks. Registers are short: what is seldom touched lies in shared memory.
struct RowState {
  ExponentPair scale;  // the largest of all chunks
  // What a sum's magnitude must not be less than, as far as this lane's elements have lost something: see split.cuh.
  float2* loss;

  __device__ __forceinline__ float largest(int r) const { return 0x1p15F * kernels::linear::power_of(scale[r]); }
  __device__ __forceinline__ void reset() {
    scale = {0};
    *loss = {0.F, 0.F};
  }
};

// A lane's elements of a chunk: in row g + 8 r those of columns 8t + 4s to 8t + 4s + 3, and the rows' scales.
struct LeftChunk {
  float4 values[2][kSteps];  // [r][s]
  ExponentPair scale;

  // Where a lane's elements lie in a tile whose first row is the warp's `first_row`, relative to the tile. Every 16
  // bytes are where the copy engine's 128-byte swizzle puts them; the eight lanes that are served together read from
  // eight bank groups.
  static __device__ __forceinline__ std::uint32_t lane_offset(int first_row, int lane) {
    const int row = lane / 4;
    return static_cast<std::uint32_t>((first_row + row) * kChunkBytes + (((lane % 4 * 2) ^ row) << 4));
  }

  __device__ __forceinline__ void load(std::uint32_t first) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s) values[r][s] = ptx::load_shared_16((first ^ (s << 4)) + 8 * r * kChunkBytes);
    }
  }

  template <class Visit>
  __device__ __forceinline__ void for_row(int r, const Visit& visit) const {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const float4& four = values[r][s];
      visit(four.x);
      visit(four.y);
      visit(four.z);
      visit(four.w);
    }
  }

  // Finds the rows' scales, and what they lose.
  __device__ __forceinline__ void scale_rows(RowState& state) {
    float least[2];
    float largest[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      largest[r] = 0.F;
      least[r] = CUDART_INF_F;
      for_row(r, [&](float value) {
        largest[r] = ptx::max_or_nan(largest[r], fabsf(value));
        least[r] = fminf(least[r], fabsf(value));
      });
    }
#pragma unroll
    for (int distance = 1; distance <= 2; distance *= 2) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        largest[r] = ptx::max_or_nan(largest[r], __shfl_xor_sync(0xffffffffU, largest[r], distance));
      }
    }
    scale = ExponentPair::of(kernels::linear::scale_exponent(largest[0]), kernels::linear::scale_exponent(largest[1]));
    state.scale.packed = __vmaxu2(state.scale.packed, scale.packed);
    bool is_safe = true;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float exact_from = kernels::linear::kExactFrom * kernels::linear::power_of(scale[r]);
      is_safe = is_safe && kernels::linear::is_in_range(largest[r]) && least[r] >= exact_from;
    }
    // Seldom, but for rows with zeros in them.
    if (__any_sync(0xffffffffU, !is_safe)) count_losses(state, largest);
  }

  __device__ __forceinline__ void count_losses(RowState& state, const float (&largest)[2]) const {
    float losses[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float factor = kernels::linear::power_of(scale[r]);
      const float exact_from = kernels::linear::kExactFrom * factor;
      float lost = 0.F;
      for_row(r, [&](float value) { kernels::linear::count_lossy(lost, value, exact_from); });
      // In the sum's units: the right row's largest is 2^15 at most.
      losses[r] = kernels::linear::is_in_range(largest[r]) ? lost * kernels::linear::kLossOfElement * (0x1p15F * factor)
                                                           : CUDART_NAN_F;
    }
    const float2 before = *state.loss;
    *state.loss = {before.x + losses[0], before.y + losses[1]};
  }

  __device__ __forceinline__ void split(LeftHalves& halves) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float multiplier = kernels::linear::inverse_power_of(scale[r]);
#pragma unroll
      for (int s = 0; s < kSteps; ++s) {
        const float4& four = values[r][s];
        const kernels::linear::Halves near = kernels::linear::split_pair(four.x, four.y, multiplier);
        const kernels::linear::Halves far = kernels::linear::split_pair(four.z, four.w, multiplier);
        halves.high[s][r] = near.high;
        halves.low[s][r] = near.low;
        halves.high[s][r + 2] = far.high;
        halves.low[s][r + 2] = far.low;
      }
    }
  }
};

}  // namespace flashconvert::kernels::sm90::linear
