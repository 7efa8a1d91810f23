// The running softmax over key tiles (FlashAttention's recurrence): a maximum and a sum for each of the query rows that
// a lane holds, two for every 16 rows (mma's accumulator layout: rows g and g + 8, the four lanes of a quad share
// them).
#pragma once

#include <math_constants.h>

#include "../ptx/math.cuh"

namespace flashconvert::kernels {

inline constexpr float kLog2E = 1.4426950408889634F;

// Scores arrive either raw, to be multiplied by a positive `multiplier` (scale * log2 e) in the instruction that
// subtracts the maximum; or finished, in natural units. Finished scores are subtracted first and converted to base 2
// afterwards: a finite mask such as float32's lowest value times log2 e would be -inf, and a row that holds nothing
// else would lose its uniform weights.
enum class ScoreUnits { kRaw, kNatural };

template <int kRowTiles, ScoreUnits kUnits>
struct OnlineSoftmax {
  float maximum[kRowTiles][2];
  float sum[kRowTiles][2];  // of this lane's columns only, until finish()

  __device__ __forceinline__ void reset() {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        maximum[tile][half] = -CUDART_INF_F;
        sum[tile][half] = 0.F;
      }
    }
  }

  // Turns the tile's scores into weights relative to the new maximum; `rescale` is what earlier results are worth now.
  template <int kColumnTiles>
  __device__ __forceinline__ void update(float (&scores)[kRowTiles][kColumnTiles][4], float (&rescale)[kRowTiles][2],
                                         float multiplier) {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float offset = raise_maximum(scores[tile], tile, half, rescale[tile][half], multiplier);
        weigh(scores[tile], tile, half, offset, rescale[tile][half], multiplier);
      }
    }
  }

  // The two parts of `update` for one row. The first returns what the second subtracts.
  template <int kColumnTiles>
  __device__ __forceinline__ float raise_maximum(const float (&columns)[kColumnTiles][4], int tile, int half,
                                                 float& rescale, float multiplier) {
    const float previous = maximum[tile][half];
    float highest = fmaxf(columns[0][2 * half], columns[0][2 * half + 1]);
#pragma unroll
    for (int n = 1; n < kColumnTiles; ++n) {
      highest = fmaxf(highest, fmaxf(columns[n][2 * half], columns[n][2 * half + 1]));
    }
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffU, highest, 1));
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffU, highest, 2));
    highest = fmaxf(highest, previous);
    maximum[tile][half] = highest;
    // Nothing visible so far: subtract 0, so that -inf stays a weight of 0 instead of becoming NaN.
    const float reference = highest == -CUDART_INF_F ? 0.F : highest;
    const float offset = kUnits == ScoreUnits::kRaw ? reference * multiplier : reference;
    rescale = weight(previous, offset, multiplier);
    return offset;
  }
  template <int kColumnTiles>
  __device__ __forceinline__ void weigh(float (&columns)[kColumnTiles][4], int tile, int half, float offset,
                                        float rescale, float multiplier) {
    float total = 0.F;
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      columns[n][2 * half] = weight(columns[n][2 * half], offset, multiplier);
      columns[n][2 * half + 1] = weight(columns[n][2 * half + 1], offset, multiplier);
      total += columns[n][2 * half] + columns[n][2 * half + 1];
    }
    sum[tile][half] = sum[tile][half] * rescale + total;
  }

  // What the accumulated row is multiplied with. A row whose every score was -inf has sum 0 and takes `empty_row`.
  __device__ __forceinline__ float finish(int tile, int half, float empty_row) const {
    float total = sum[tile][half];
    total += __shfl_xor_sync(0xffffffffU, total, 1);
    total += __shfl_xor_sync(0xffffffffU, total, 2);
    return total == 0.F ? empty_row : 1.F / total;
  }

private:
  static __device__ __forceinline__ float weight(float score, float offset, float multiplier) {
    if constexpr (kUnits == ScoreUnits::kRaw) return ptx::exp2_approximate(fmaf(score, multiplier, -offset));
    return ptx::exp2_approximate((score - offset) * kLog2E);
  }
};

}  // namespace flashconvert::kernels
