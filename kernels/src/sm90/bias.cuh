// The bias beside the products. Either a number for each key, which a warp of the loading warpgroup prepares; or a tile
// of it for the queries and keys, which the copy engine brings. Both lie in a ring of their own, in step with the keys,
// so that no computing warp waits for global memory or knows how the bias is strided.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math_constants.h>

#include <cfloat>

#include "../device/score_modifiers.cuh"
#include "../ptx/math.cuh"
#include "../ptx/shared_load.cuh"
#include "parameters.h"
#include "products.cuh"
#include "scheduler.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90 {

// An element of the bias as a power of two. Finite ones stay finite, so that a row of nothing but the lowest float
// keeps its uniform weights.
__device__ __forceinline__ float bias_exponent(float bias) {
  const float exponent = bias * kLog2E;
  return isinf(exponent) && !isinf(bias) ? copysignf(FLT_MAX, exponent) : exponent;
}

// The warp that fills the ring where all queries share the bias.
template <class Element, class Tile>
class KeyBiasLoader {
  using Plan = SharedMemoryPlan<Tile>;
  static constexpr int kKeysPerLane = (Tile::kKeys + 31) / 32;

public:
  __device__ __forceinline__ KeyBiasLoader(const KernelParameters& p, char* shared_memory)
      : p_(p), memory_(shared_memory), shared_(ptx::shared_address(shared_memory)), mailbox_(shared_memory) {}

  __device__ __forceinline__ void run() {
    while (true) {
      const int place = mailbox_.receive();
      const Assignment& at = mailbox_.at(place);
      if (at.is_last()) return;
      const std::int64_t offset = bias_offset(p_.bias, at.work.batch, at.work.head);
      const int first = at.tiles.first;
#pragma unroll 1
      for (int tile = at.tiles.end - 1; tile >= first; --tile) load(offset, tile * Tile::kKeys);
      mailbox_.release(place);
    }
  }

private:
  // Keys that do not exist get the bias of the last: the window hides them.
  __device__ __forceinline__ void load(std::int64_t offset, int first_key) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float exponents[kKeysPerLane];
#pragma unroll
    for (int i = 0; i < kKeysPerLane; ++i) {
      const int key = min(first_key + lane + 32 * i, p_.key_length - 1);
      exponents[i] = exponent(offset + key * p_.bias.column_stride);
    }
    ptx::barrier_wait(shared_ + Plan::kBiasEmpty + 8 * ring_.stage(), ring_.parity() ^ 1);
    float* const to = reinterpret_cast<float*>(memory_ + Plan::kBias + ring_.stage() * Tile::kBiasBytes);
#pragma unroll
    for (int i = 0; i < kKeysPerLane; ++i) {
      if (Tile::kKeys % 32 == 0 || lane + 32 * i < Tile::kKeys) to[lane + 32 * i] = exponents[i];
    }
    ptx::barrier_arrive(shared_ + Plan::kBiasFull + 8 * ring_.stage());  // each lane for what it wrote
    ring_.advance();
  }

  __device__ __forceinline__ float exponent(std::int64_t at) const {
    switch (p_.bias.kind) {
      case BiasKind::kBoolean:
        return static_cast<const std::uint8_t*>(p_.bias.data)[at] != 0 ? 0.F : -CUDART_INF_F;
      case BiasKind::kFloat32:
        return bias_exponent(static_cast<const float*>(p_.bias.data)[at]);
      default:
        return bias_exponent(static_cast<float>(static_cast<const Element*>(p_.bias.data)[at]));
    }
  }

  const KernelParameters& p_;
  char* memory_;
  std::uint32_t shared_;
  Mailbox<Tile> mailbox_;
  RingPosition<Tile::kStages> ring_;
};

// Raw scores become powers of two. `bias`: the shared address of the tile's numbers.
template <class Tile>
__device__ __forceinline__ void add_key_bias(Accumulators<Tile::kKeys>& scores, float exponent_scale,
                                             std::uint32_t bias) {
  const std::uint32_t own = bias + threadIdx.x % 4 * 8;
#pragma unroll
  for (int n = 0; n < Tile::kKeys / 8; ++n) {
    const float2 pair = ptx::load_shared<float2>(own + n * 32);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      scores[0][n][2 * half] = fmaf(scores[0][n][2 * half], exponent_scale, pair.x);
      scores[0][n][2 * half + 1] = fmaf(scores[0][n][2 * half + 1], exponent_scale, pair.y);
    }
  }
}

// Raw scores become natural ones. `bias`: the shared address of the tile, `row`: the warp's first row in it. The
// 16-byte pieces of a row are permuted by the row's last three bits, which are the lane's quad.
template <class Element, class Tile>
__device__ __forceinline__ void add_bias_tile(Accumulators<Tile::kKeys>& scores, const KernelParameters& p,
                                              std::uint32_t bias, int row) {
  constexpr int kRowBytes = ptx::panel_bytes(Tile::kBiasSwizzle);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::uint32_t own = bias + (row + lane / 4) * kRowBytes + lane / 4 * 16;
  if (p.bias.kind == BiasKind::kBoolean) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 0; n < Tile::kKeys / 8; ++n) {
        const std::uint32_t pair =
            ptx::load_shared<std::uint16_t>((own ^ (n / 2 * 16)) + lane % 4 * 2 + n % 2 * 8 + half * 8 * kRowBytes);
        float(&score)[4] = scores[0][n];
        score[2 * half] = (pair & 0xff) != 0 ? score[2 * half] * p.score_factor : -CUDART_INF_F;
        score[2 * half + 1] = pair >> 8 != 0 ? score[2 * half + 1] * p.score_factor : -CUDART_INF_F;
      }
    }
    return;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int n = 0; n < Tile::kKeys / 8; ++n) {
      const float2 pair = ptx::unpack<Element>(ptx::load_shared<std::uint32_t>(
          (own ^ (n % 8 * 16)) + lane % 4 * 4 + (n / 8 * Tile::kRows + half * 8) * kRowBytes));
      scores[0][n][2 * half] = fmaf(scores[0][n][2 * half], p.score_factor, pair.x);
      scores[0][n][2 * half + 1] = fmaf(scores[0][n][2 * half + 1], p.score_factor, pair.y);
    }
  }
}

}  // namespace flashconvert::kernels::sm90
