// float16, bfloat16 and float32 on the host, by arithmetic on float64, so that the tests need no CUDA header here.
#include <cmath>
#include <cstring>
#include <limits>

#include "attention_case.h"

namespace flashconvert::kernels::testing {
namespace {

struct Format {
  int mantissa_bits;
  int least_exponent;  // of a normal number
  double largest;
};

Format format_of(DType dtype) {
  if (dtype == DType::kFloat16) return {10, -14, 65504.0};
  if (dtype == DType::kBFloat16) return {7, -126, 3.3895313892515355e38};
  return {23, -126, 3.4028234663852886e38};
}

}  // namespace

std::int64_t element_bytes(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

double rounded(DType dtype, double value) {
  if (!std::isfinite(value) || value == 0) return value;
  const Format format = format_of(dtype);
  int exponent = 0;
  std::frexp(value, &exponent);
  const int unit = std::max(exponent - 1, format.least_exponent) - format.mantissa_bits;
  const double nearest = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
  if (std::abs(nearest) <= format.largest) return nearest;
  return std::copysign(std::numeric_limits<double>::infinity(), value);
}

void store_element(DType dtype, unsigned char* bytes, std::int64_t index, double value) {
  const double exact = rounded(dtype, value);
  if (dtype != DType::kFloat16) {
    const float single = static_cast<float>(exact);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &single, 4);
    if (dtype == DType::kFloat32) {
      std::memcpy(bytes + 4 * index, &bits, 4);
    } else {
      const auto high = static_cast<std::uint16_t>(bits >> 16);
      std::memcpy(bytes + 2 * index, &high, 2);
    }
    return;
  }
  const std::uint16_t sign = std::signbit(exact) ? 0x8000 : 0;
  const double magnitude = std::abs(exact);
  std::uint16_t bits = 0;
  if (std::isnan(exact)) {
    bits = 0x7e00;
  } else if (std::isinf(exact)) {
    bits = 0x7c00;
  } else if (magnitude < std::ldexp(1.0, -14)) {
    bits = static_cast<std::uint16_t>(std::ldexp(magnitude, 24));
  } else {
    int exponent = 0;
    const double fraction = std::frexp(magnitude, &exponent);  // in [1/2, 1)
    bits = static_cast<std::uint16_t>(((exponent + 14) << 10) + static_cast<int>(std::ldexp(fraction, 11)) - 1024);
  }
  bits = static_cast<std::uint16_t>(bits | sign);
  std::memcpy(bytes + 2 * index, &bits, 2);
}

double load_element(DType dtype, const unsigned char* bytes, std::int64_t index) {
  if (dtype == DType::kFloat32) {
    float single = 0;
    std::memcpy(&single, bytes + 4 * index, 4);
    return single;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes + 2 * index, 2);
  if (dtype == DType::kBFloat16) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float single = 0;
    std::memcpy(&single, &wide, 4);
    return single;
  }
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double magnitude = std::ldexp(mantissa, -24);
  if (exponent == 31) {
    magnitude = mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent != 0) {
    magnitude = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace flashconvert::kernels::testing
