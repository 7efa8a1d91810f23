// float32 numbers as sums of two float16 numbers, times a power of two for a whole row or a part of one.
//
// Scaled to a largest element in [2^14, 2^15), an element keeps 22 bits or more while it is 2^-3 or larger; below, its
// error is at most 2^-25, since float16's smallest step is 2^-24. What that can mean for a result is counted in units
// that its magnitude is then compared with: kLeastMagnitude * (an element's error) * (the other row's largest).
#pragma once

#include <cstdint>

#include "../ptx/math.cuh"

namespace flashconvert::kernels::linear {

inline constexpr int kTopExponent = 14;      // of the largest element, scaled
inline constexpr int kExponentBias = 127;    // of float32
inline constexpr int kLeastExponent = -60;   // rows are not scaled up further than from here
inline constexpr float kTooLarge = 0x1p60F;  // rows that reach so far are not split
inline constexpr float kExactFrom = 0x1p-3F;
// A lost element's 2^-25 shall be at most 2^-22 of the result.
inline constexpr float kLossOfElement = 0x1p-25F * 0x1p22F;

// The biased exponent of the power of two that a row is multiplied by after the product, where its largest magnitude is
// `largest`: before, it is multiplied by the inverse. 1 to 254, whatever `largest` is.
__device__ __forceinline__ int scale_exponent(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23);
  return max(exponent, kExponentBias + kLeastExponent) - kTopExponent;
}
__device__ __forceinline__ float power_of(int exponent) {
  return __uint_as_float(static_cast<std::uint32_t>(exponent) << 23);
}
__device__ __forceinline__ float inverse_power_of(int exponent) { return power_of(2 * kExponentBias - exponent); }

// False for NaN too.
__device__ __forceinline__ bool is_in_range(float largest) { return largest < kTooLarge; }

// Adds 1 to `count` where an element in a row of this scale loses something. In this order and no other: to the
// compiler, a row of comparisons is worth more registers than there are.
__device__ __forceinline__ void count_lossy(float& count, float value, float exact_from) {
  asm volatile(
      "{\n"
      ".reg .pred loses;\n"
      ".reg .f32 magnitude;\n"
      "abs.f32 magnitude, %1;\n"
      "setp.neu.f32 loses, %1, 0f00000000;\n"
      "setp.lt.and.f32 loses, magnitude, %2, loses;\n"
      "@loses add.f32 %0, %0, 0f3F800000;\n"
      "}"
      : "+f"(count)
      : "f"(value), "f"(exact_from));
}

struct Halves {
  std::uint32_t high;  // two numbers
  std::uint32_t low;
};

__device__ __forceinline__ Halves split_pair(float first, float second, float multiplier) {
  const std::uint32_t high = ptx::pack<__half>(first * multiplier, second * multiplier);
  const float2 rounded = ptx::unpack<__half>(high);
  return {high, ptx::pack<__half>(fmaf(first, multiplier, -rounded.x), fmaf(second, multiplier, -rounded.y))};
}

// Where in a row of 32 halves the four elements 8t + 4s .. 8t + 3 + 4s go, with their number i: 16 s + 8 (i / 2) + 2 t
// + i % 2. A lane t of four then has, of 16 bytes of floats, what wgmma's A operand wants of it in one step s; the
// order of a sum's terms is free.
inline constexpr int kGroup = 32;

}  // namespace flashconvert::kernels::linear
