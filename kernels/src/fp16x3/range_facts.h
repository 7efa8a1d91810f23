// What is known about the range of float32 operands when they have been split in halves (split_operands.cuh), and
// whether the products of the halves are as good as float32's. It is found and asked on the device, so that no stream
// has to wait for the host: the kernel for halves and the one for TF32 are both launched, and one of them returns.
#pragma once

namespace flashconvert::kernels {

// Zero before the operands are split. The numbers are floats that are not negative, by their bits, which are ordered as
// they are. Those of the queries are multiplied by the scale of the scores.
struct RangeFacts {
  unsigned query_largest;
  unsigned query_sum;  // the largest sum of a row's magnitudes
  unsigned key_largest;
  unsigned key_sum;
  unsigned is_unsafe;  // something infinite, NaN, or beyond what halves and their scales hold
  int tile_counter;    // of the kernel for halves (sm90/scheduler.cuh)
};

// A row is scaled to a largest magnitude of 2^14 to 2^15. A number of at least 2^-16 of that has all its bits in the
// two halves; a smaller one is off by 2^-39 of the largest at most. A score is then off by 2^-39 of the sum of the
// other operand's magnitudes: with this bound by 2^-22, although every small number met the largest ones.
inline constexpr float kLargestScoreBound = 65536.F;

// Exponents of the largest magnitudes that are scaled. Beyond, the scales or their products might leave float32.
inline constexpr int kLeastExponent = -60;
inline constexpr int kLargestExponent = 60;

// Rows and columns of a tile of values share one scale: each must have a number this large in the tile, so that those
// who see it alone lose no more than a unit in float32's last place.
inline constexpr float kLeastShareOfTile = 1.F / 16384.F;

// The scale itself: a multiplier of scores far from 1 would leave the range that the above stays in.
inline constexpr float kLargestScale = 1048576.F;

#ifdef __CUDACC__
__device__ __forceinline__ bool halves_hold(const RangeFacts& facts) {
  const float by_query = __uint_as_float(facts.query_sum) * __uint_as_float(facts.key_largest);
  const float by_key = __uint_as_float(facts.key_sum) * __uint_as_float(facts.query_largest);
  return facts.is_unsafe == 0 && by_query <= kLargestScoreBound && by_key <= kLargestScoreBound;
}
#endif

}  // namespace flashconvert::kernels
