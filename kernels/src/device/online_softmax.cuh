// The running softmax over key tiles (FlashAttention's recurrence): a maximum and a sum for each of the query rows that
// a lane holds, two for every 16 rows (mma's accumulator layout: rows g and g + 8, the four lanes of a quad share
// them).
#pragma once

#include <cfloat>

#include "../ptx/math.cuh"

namespace flashconvert::kernels {

inline constexpr float kLog2E = 1.4426950408889634F;

// Scores arrive raw, to be multiplied by a positive `multiplier` (scale * log2 e) in the instruction that subtracts the
// maximum; or as powers of two; or finished, in natural units. The last are subtracted first and converted to base 2
// afterwards: a finite mask such as float32's lowest value times log2 e would be -inf, and a row that holds nothing
// else would lose its uniform weights. Whoever makes powers of two has to see to that.
enum class ScoreUnits { kRaw, kNatural, kPowersOfTwo };

// When the maximum that weights refer to follows the scores. kLazy: only once they exceed it by a factor of 2^8 (of
// 2^4, kLazySmall). Till then weights are that much above 1 at most, which costs no precision in floating point, and
// nothing has to be rescaled (the conditional rescaling of FlashAttention-4).
enum class Raise { kAlways, kLazy, kLazySmall };

template <int kRowTiles, ScoreUnits kUnits, Raise kRaise = Raise::kAlways>
struct OnlineSoftmax {
  float maximum[kRowTiles][2];  // of finished scores; of raw ones times the multiplier
  float sum[kRowTiles][2];      // of this lane's columns only, until finish()

  // The lowest float, not -inf: as long as nothing is visible, -inf less the maximum has to stay a weight of 0.
  __device__ __forceinline__ void reset() {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        maximum[tile][half] = -FLT_MAX;
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
        raise_maximum(scores[tile], tile, half, rescale[tile][half], multiplier);
        weigh(scores[tile], tile, half, multiplier);
      }
    }
  }

  // The two parts of `update` for one row: the maximum (and the sum) that its weights refer to, then the weights.
  template <int kColumnTiles>
  __device__ __forceinline__ void raise_maximum(const float (&columns)[kColumnTiles][4], int tile, int half,
                                                float& rescale, float multiplier) {
    float highest = fmaxf(columns[0][2 * half], columns[0][2 * half + 1]);
#pragma unroll
    for (int n = 1; n < kColumnTiles; ++n) {
      highest = fmaxf(highest, fmaxf(columns[n][2 * half], columns[n][2 * half + 1]));
    }
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffU, highest, 1));
    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffU, highest, 2));
    if constexpr (kUnits == ScoreUnits::kRaw) highest *= multiplier;
    const float previous = maximum[tile][half];
    float& current = maximum[tile][half];
    if constexpr (kRaise != Raise::kAlways) {
      current = power_of_two(highest - previous) > kSlack ? highest : previous;
    } else {
      current = fmaxf(highest, previous);
    }
    rescale = ptx::exp2_approximate(power_of_two(previous - current));
    sum[tile][half] *= rescale;
  }

  // `raise_maximum` for a tile's two rows; returns whether any row of the warp did rise. Lazily, that is asked first,
  // in a way that costs half as much as finding the maximum, and is nearly always denied.
  template <int kColumnTiles>
  __device__ __forceinline__ bool raise_maxima(const float (&columns)[kColumnTiles][4], int tile, float (&rescale)[2],
                                               float multiplier) {
    return raise_maxima(columns, tile, rescale, {multiplier, multiplier});
  }
  // With a multiplier for either row.
  template <int kColumnTiles>
  __device__ __forceinline__ bool raise_maxima(const float (&columns)[kColumnTiles][4], int tile, float (&rescale)[2],
                                               const float (&multiplier)[2]) {
    if constexpr (kRaise != Raise::kAlways) {
      rescale[0] = rescale[1] = 1.F;
      const bool may_rise = exceeds(columns, tile, 0, multiplier[0]) | exceeds(columns, tile, 1, multiplier[1]);
      if (!__any_sync(0xffffffffU, may_rise)) return false;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) raise_maximum(columns, tile, half, rescale[half], multiplier[half]);
    return true;
  }

  template <int kColumnTiles>
  __device__ __forceinline__ void weigh(float (&columns)[kColumnTiles][4], int tile, int half, float multiplier) {
    const float offset = maximum[tile][half];
    float total = 0.F;
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      columns[n][2 * half] = weight(columns[n][2 * half], offset, multiplier);
      columns[n][2 * half + 1] = weight(columns[n][2 * half + 1], offset, multiplier);
      total += columns[n][2 * half] + columns[n][2 * half + 1];
    }
    sum[tile][half] += total;
  }

  // What the accumulated row is multiplied with. A row whose every score was -inf has sum 0 and takes `empty_row`.
  __device__ __forceinline__ float finish(int tile, int half, float empty_row) const {
    const float total = total_sum(tile, half);
    return total == 0.F ? empty_row : 1.F / total;
  }

  // The sum over the whole row, the same for the four lanes that share it.
  __device__ __forceinline__ float total_sum(int tile, int half) const {
    float total = sum[tile][half];
    total += __shfl_xor_sync(0xffffffffU, total, 1);
    total += __shfl_xor_sync(0xffffffffU, total, 2);
    return total;
  }

  // What turns a difference of two maxima into the power of two that their rows differ by.
  static constexpr float kMaximumScale = kUnits == ScoreUnits::kNatural ? kLog2E : 1.F;

private:
  static constexpr float kSlack = kRaise == Raise::kLazySmall ? 4.F : 8.F;

  // Whether one of this lane's scores may exceed the maximum by more than the slack. Positive floats are ordered as
  // their bits are, and above all negative ones, so that the integer unit finds the highest, three at a time. Negative
  // ones count as 0, which none of them exceeds.
  template <int kColumnTiles>
  __device__ __forceinline__ bool exceeds(const float (&columns)[kColumnTiles][4], int tile, int half,
                                          float multiplier) const {
    int highest = 0;
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
      highest = __vimax3_s32(highest, __float_as_int(columns[n][2 * half]), __float_as_int(columns[n][2 * half + 1]));
    }
    float score = __int_as_float(highest);
    if constexpr (kUnits == ScoreUnits::kRaw) score *= multiplier;
    return power_of_two(score - maximum[tile][half]) > kSlack;
  }

  static __device__ __forceinline__ float power_of_two(float difference) { return difference * kMaximumScale; }
  static __device__ __forceinline__ float weight(float score, float offset, float multiplier) {
    return ptx::exp2_approximate(kUnits == ScoreUnits::kRaw ? fmaf(score, multiplier, -offset)
                                                            : power_of_two(score - offset));
  }
};

}  // namespace flashconvert::kernels
