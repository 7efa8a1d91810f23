// fp32 numbers as sums of two TF32 numbers, so that three TF32 products keep fp32's accuracy:
//   x y = x_high y_high + x_high y_low + x_low y_high (+ x_low y_low, 2^-22 of the whole, left out).
#pragma once

#include <math_constants.h>

#include <cstdint>

namespace flashconvert::kernels {

// The nearest number with TF32's 10 stored bits of mantissa, ties away from zero: two integer instructions, where the
// conversion instruction has a quarter of their rate. (Within 2^-12 of the largest float it becomes infinite.)
__device__ __forceinline__ std::uint32_t round_to_tf32(float x) { return (__float_as_uint(x) + 0x1000U) & 0xffffe000U; }

// What is left of x: 12 bits and a sign, of which the unit cuts the last. Rounding it instead would be off by as much.
__device__ __forceinline__ std::uint32_t remainder_of(float x, std::uint32_t high) {
  return __float_as_uint(x - __uint_as_float(high));
}

struct SplitOperand {
  std::uint32_t high;
  std::uint32_t low;
};

__device__ __forceinline__ SplitOperand split(float x) {
  const std::uint32_t high = round_to_tf32(x);
  return {high, remainder_of(x, high)};
}

// The same for values, which may be infinite or NaN: `high` carries that to the output, and the two correction terms
// take zeros, since a weight's low part times infinity would be NaN. Where all values are known to be finite, that need
// not be asked of each.
struct SplitValue {
  std::uint32_t high;
  std::uint32_t finite_high;
  std::uint32_t low;
};

template <bool kAllFinite>
__device__ __forceinline__ SplitValue split_value(float x) {
  const SplitOperand parts = split(x);
  if (kAllFinite || fabsf(x) < CUDART_INF_F) return {parts.high, parts.high, parts.low};
  return {__float_as_uint(x), 0U, 0U};
}

}  // namespace flashconvert::kernels
