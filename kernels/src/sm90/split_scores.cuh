// What happens to scores that were made of halves: as score_modifiers.cuh and bias.cuh have it, but that each of a
// lane's two rows has a multiplier of its own.
#pragma once

#include "../device/score_modifiers.cuh"
#include "../ptx/shared_load.cuh"
#include "products.cuh"

namespace flashconvert::kernels::sm90 {

template <class Tile>
__device__ __forceinline__ void scale_and_cap_rows(Accumulators<Tile::kKeys>& scores, const float (&multiplier)[2],
                                                   float softcap) {
#pragma unroll
  for (int n = 0; n < Tile::kKeys / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[0][n][i] *= multiplier[i / 2];
  }
  if (softcap == 0.F) return;
#pragma unroll
  for (int n = 0; n < Tile::kKeys / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) scores[0][n][i] = softcap * tanh_accurate(scores[0][n][i]);
  }
}

// Products become powers of two. `bias`: the shared address of the tile's numbers.
template <class Tile>
__device__ __forceinline__ void add_key_bias_to_rows(Accumulators<Tile::kKeys>& scores, const float (&multiplier)[2],
                                                     std::uint32_t bias) {
  const std::uint32_t own = bias + threadIdx.x % 4 * 8;
#pragma unroll
  for (int n = 0; n < Tile::kKeys / 8; ++n) {
    const float2 pair = ptx::load_shared<float2>(own + n * 32);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      scores[0][n][2 * half] = fmaf(scores[0][n][2 * half], multiplier[half], pair.x);
      scores[0][n][2 * half + 1] = fmaf(scores[0][n][2 * half + 1], multiplier[half], pair.y);
    }
  }
}

}  // namespace flashconvert::kernels::sm90
