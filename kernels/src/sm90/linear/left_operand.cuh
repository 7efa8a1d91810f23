// The left operand on its way from shared memory to the tensor cores: a warp's 16 rows of a chunk, scaled and split in
// registers. Each row of a chunk has a scale of its own, which is found here; no pass over the whole row is needed.
#pragma once

#include <math_constants.h>

#include "../../linear/split.cuh"
#include "../../ptx/ldmatrix.cuh"
#include "tile.h"

namespace flashconvert::kernels::sm90::linear {

inline constexpr int kSteps = kChunk / 16;  // of wgmma's inner dimension

// wgmma's A operand.
struct LeftHalves {
  std::uint32_t high[kSteps][4];
  std::uint32_t low[kSteps][4];
};

// What becomes of the two rows g and g + 8 of a lane over all chunks.
struct RowState {
  float largest[2];  // magnitude
  float loss[2];     // the least magnitude of a sum, for each unit of the right row's largest (2^15): see split.cuh
};

// A lane's elements of a chunk: in row g + 8 r, panel p, those of column 8t + 4s.
struct LeftChunk {
  float4 values[kPanels][2][2];  // [p][r][s]

  // `tile`: the warp's rows. Every 16 bytes lie where the copy engine's 128-byte swizzle puts them; the eight lanes
  // that are served together read from eight bank groups.
  template <int kRows>
  __device__ __forceinline__ void load(std::uint32_t tile, int lane) {
    const int row = lane / 4;
    const std::uint32_t first = tile + row * kPanelBytes + ((lane % 4 * 2 ^ row) << 4);
#pragma unroll
    for (int p = 0; p < kPanels; ++p) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          values[p][r][s] = ptx::load_shared_16((first ^ (s << 4)) + (p * kRows + 8 * r) * kPanelBytes);
        }
      }
    }
  }

  template <class Visit>
  __device__ __forceinline__ void for_row(int r, const Visit& visit) const {
#pragma unroll
    for (int p = 0; p < kPanels; ++p) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const float4& four = values[p][r][s];
        visit(four.x);
        visit(four.y);
        visit(four.z);
        visit(four.w);
      }
    }
  }

  // The scale of row g + 8 r. NaN is no magnitude: it shows in the sum itself.
  __device__ __forceinline__ kernels::linear::Scale scale_row(int r, RowState& state) const {
    using kernels::linear::kExactFrom;
    float largest = 0.F;
    float least = CUDART_INF_F;
    for_row(r, [&](float value) {
      largest = fmaxf(largest, fabsf(value));
      least = fminf(least, fabsf(value));
    });
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffU, largest, 2));
    const kernels::linear::Scale scale = kernels::linear::scale_for(largest);
    state.largest[r] = fmaxf(state.largest[r], largest);
    if (!scale.is_in_range) state.loss[r] = CUDART_NAN_F;
    // Seldom, but for rows with zeros in them.
    const float exact_from = kExactFrom * scale.factor;
    if (__any_sync(0xffffffffU, least < exact_from)) {
      float lost = 0.F;
      for_row(r, [&](float value) { lost += value != 0.F && fabsf(value) < exact_from ? 1.F : 0.F; });
      // In the sum's units, to be multiplied by the right row's largest.
      state.loss[r] = fmaf(lost * kernels::linear::kLossOfElement, 0x1p15F * scale.factor, state.loss[r]);
    }
    return scale;
  }

  __device__ __forceinline__ void split(LeftHalves& halves, int r, float multiplier) const {
#pragma unroll
    for (int p = 0; p < kPanels; ++p) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const float4& four = values[p][r][s];
        const kernels::linear::Halves near = kernels::linear::split_pair(four.x, four.y, multiplier);
        const kernels::linear::Halves far = kernels::linear::split_pair(four.z, four.w, multiplier);
        halves.high[2 * p + s][r] = near.high;
        halves.low[2 * p + s][r] = near.low;
        halves.high[2 * p + s][r + 2] = far.high;
        halves.low[2 * p + s][r + 2] = far.low;
      }
    }
  }
};

}  // namespace flashconvert::kernels::sm90::linear
