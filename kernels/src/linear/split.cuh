// float32 numbers as sums of two float16 numbers, times a power of two for a whole row or a part of one.
//
// Scaled to a largest element in [2^14, 2^15), an element keeps 22 bits or more while it is 2^-3 or larger; below, its
// error is at most 2^-25, since float16's smallest step is 2^-24. What that can mean for a result is counted in units
// that its magnitude is then compared with: kLeastMagnitude * (an element's error) * (the other row's largest).
#pragma once

#include <cstdint>

#include "../ptx/math.cuh"

namespace flashconvert::kernels::linear {

inline constexpr int kTopExponent = 14;     // of the largest element, scaled
inline constexpr int kExponentBias = 127;   // of float32
inline constexpr int kLeastExponent = -60;  // rows are not scaled up further than from here
inline constexpr int kMostExponent = 60;    // rows that reach beyond are not split
inline constexpr float kExactFrom = 0x1p-3F;
// A lost element's 2^-25 shall be at most 2^-22 of the result.
inline constexpr float kLossOfElement = 0x1p-25F * 0x1p22F;

struct Scale {
  float multiplier;  // what an element is multiplied by
  float factor;      // its inverse
  bool is_in_range;
};

// For a row whose largest magnitude is `largest`. Both are powers of two, whatever it is.
__device__ __forceinline__ Scale scale_for(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23);
  const int clamped = max(exponent, kExponentBias + kLeastExponent);
  const auto power = [](int biased) { return __uint_as_float(static_cast<std::uint32_t>(biased) << 23); };
  return {power(2 * kExponentBias + kTopExponent - clamped), power(clamped - kTopExponent),
          exponent <= kExponentBias + kMostExponent};
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
