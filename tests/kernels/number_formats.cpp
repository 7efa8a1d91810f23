// Number formats by arithmetic on float64: see number_formats.h. The references round every score and weight, so
// nothing here may be slow.
#include "number_formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace flashconvert::kernels::testing {
namespace {

struct Format {
  std::int64_t mantissa_bits;
  std::int64_t least_exponent;  // of a normal number
  double largest;
};

Format format_of(DType dtype) {
  if (dtype == DType::kFloat16) return {10, -14, 65504.0};
  if (dtype == DType::kBFloat16) return {7, -126, 3.3895313892515355e38};
  return {23, -126, 3.4028234663852886e38};
}

constexpr std::int64_t kDoubleMantissaBits = 52;
constexpr std::int64_t kDoubleBias = 1023;

std::uint64_t bits_of(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

double from_bits(std::uint64_t bits) {
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

std::int64_t exponent_of(double value) {
  return static_cast<std::int64_t>(bits_of(value) >> kDoubleMantissaBits & 0x7ff) - kDoubleBias;
}

std::uint16_t float16_bits(double exact) {
  const std::uint64_t bits = bits_of(exact);
  const auto sign = static_cast<std::uint16_t>(bits >> 48 & 0x8000);
  const double magnitude = std::abs(exact);
  std::uint64_t rest = 0;
  if (std::isnan(exact)) {
    rest = 0x7e00;
  } else if (std::isinf(exact)) {
    rest = 0x7c00;
  } else if (magnitude < 0x1p-14) {
    rest = static_cast<std::uint64_t>(magnitude * 0x1p24);
  } else {
    const auto exponent = static_cast<std::uint64_t>(exponent_of(exact) + 15);
    rest = exponent << 10 | (bits >> (kDoubleMantissaBits - 10) & 1023);
  }
  return static_cast<std::uint16_t>(sign | rest);
}

double from_float16_bits(std::uint16_t bits) {
  const std::uint64_t exponent = bits >> 10 & 31;
  const std::uint64_t mantissa = bits & 1023;
  double magnitude = static_cast<double>(mantissa) * 0x1p-24;
  if (exponent == 31) {
    magnitude = mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent != 0) {
    magnitude =
        from_bits((exponent - 15 + kDoubleBias) << kDoubleMantissaBits | mantissa << (kDoubleMantissaBits - 10));
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace

std::int64_t element_bytes(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

double rounded(DType dtype, double value) {
  const Format format = format_of(dtype);
  if (std::isnan(value)) return value;
  if (std::abs(value) > 2 * format.largest) return std::copysign(std::numeric_limits<double>::infinity(), value);
  // A number whose last place is the unit that is rounded to: adding it rounds, subtracting it is exact.
  const std::int64_t unit = std::max(exponent_of(value), format.least_exponent) - format.mantissa_bits;
  const auto exponent = static_cast<std::uint64_t>(unit + kDoubleMantissaBits + kDoubleBias);
  const double shift = from_bits(exponent << kDoubleMantissaBits | std::uint64_t{1} << (kDoubleMantissaBits - 1));
  const double nearest = std::copysign(value + shift - shift, value);
  if (std::abs(nearest) <= format.largest) return nearest;
  return std::copysign(std::numeric_limits<double>::infinity(), value);
}

void store_element(DType dtype, unsigned char* bytes, std::int64_t index, double value) {
  const double exact = rounded(dtype, value);
  if (dtype == DType::kFloat16) {
    const std::uint16_t bits = float16_bits(exact);
    std::memcpy(bytes + 2 * index, &bits, 2);
    return;
  }
  const float single = static_cast<float>(exact);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &single, 4);
  if (dtype == DType::kFloat32) {
    std::memcpy(bytes + 4 * index, &bits, 4);
  } else {
    const auto high = static_cast<std::uint16_t>(bits >> 16);
    std::memcpy(bytes + 2 * index, &high, 2);
  }
}

double load_element(DType dtype, const unsigned char* bytes, std::int64_t index) {
  if (dtype == DType::kFloat32) {
    float single = 0;
    std::memcpy(&single, bytes + 4 * index, 4);
    return single;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes + 2 * index, 2);
  if (dtype == DType::kFloat16) return from_float16_bits(bits);
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float single = 0;
  std::memcpy(&single, &wide, 4);
  return single;
}

}  // namespace flashconvert::kernels::testing
