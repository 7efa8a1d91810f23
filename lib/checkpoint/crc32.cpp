// CRC-32 (the reflected polynomial 0xEDB88320 of zip and gzip), sixteen bytes a step through tables, or 64 bytes a step
// by carry-less multiplication where the CPU has it: the check of every record then costs less than reading it.
#include <cstring>

#include "checkpoint/digest.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace flashconvert::checkpoint {
namespace {

constexpr std::uint32_t kPolynomial = 0xEDB88320;

using Tables = std::array<std::array<std::uint32_t, 256>, 16>;

// tables[k][b]: the remainder of byte b followed by k zero bytes.
Tables make_tables() {
  Tables tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t r = b;
    for (int bit = 0; bit < 8; ++bit) r = r >> 1 ^ (r & 1 ? kPolynomial : 0);
    tables[0][b] = r;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t b = 0; b < 256; ++b) {
      const std::uint32_t before = tables[k - 1][b];
      tables[k][b] = before >> 8 ^ tables[0][before & 255];
    }
  }
  return tables;
}

// x^exponent modulo the polynomial, in the reflected bit order (bit 31 is x^0).
std::uint32_t power_of_x(unsigned exponent) {
  std::uint32_t r = 0x80000000;
  for (unsigned i = 0; i < exponent; ++i) r = r >> 1 ^ (r & 1 ? kPolynomial : 0);
  return r;
}

#if defined(__x86_64__)
// Folds 64 bytes a step into four 128-bit remainders, then those into one, and leaves its 16 bytes to the tables.
// A remainder that moves n bits up the message is multiplied by x^n mod P: its low half (the higher powers) by
// x^(n+32), its high half by x^(n−32); the products are one bit short in the reflected order, hence the shift by one.
struct FoldConstants {
  explicit FoldConstants(unsigned bits)
      : low(std::uint64_t{power_of_x(bits + 32)} << 1), high(std::uint64_t{power_of_x(bits - 32)} << 1) {}
  std::uint64_t low, high;
};

__attribute__((target("pclmul,sse4.1"))) __m128i fold(__m128i remainder, __m128i next, __m128i constants) {
  const __m128i low = _mm_clmulepi64_si128(remainder, constants, 0x00);
  const __m128i high = _mm_clmulepi64_si128(remainder, constants, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// `crc` is the inner state (already inverted); `size` is at least 64. Returns the state after a multiple of 16 bytes
// and advances `data` and `size` past them.
__attribute__((target("pclmul,sse4.1"))) std::uint32_t fold_blocks(std::uint32_t crc, const std::uint8_t*& data,
                                                                   std::size_t& size) {
  static const FoldConstants by_512(512), by_128(128);
  const __m128i constants_512 = _mm_set_epi64x(static_cast<long long>(by_512.high), static_cast<long long>(by_512.low));
  const __m128i constants_128 = _mm_set_epi64x(static_cast<long long>(by_128.high), static_cast<long long>(by_128.low));
  const auto block = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i); };

  __m128i lanes[4] = {_mm_xor_si128(block(0), _mm_cvtsi32_si128(static_cast<int>(crc))), block(1), block(2), block(3)};
  data += 64;
  size -= 64;
  for (; size >= 64; data += 64, size -= 64) {
    for (int i = 0; i < 4; ++i) lanes[i] = fold(lanes[i], block(i), constants_512);
  }
  __m128i remainder = lanes[0];
  for (int i = 1; i < 4; ++i) remainder = fold(remainder, lanes[i], constants_128);
  for (; size >= 16; data += 16, size -= 16) remainder = fold(remainder, block(0), constants_128);

  std::uint8_t bytes[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), remainder);
  return ~crc32_portable(~std::uint32_t{0}, bytes, sizeof bytes);  // from an inner state of 0
}
#endif

}  // namespace

std::uint32_t crc32_portable(std::uint32_t crc, const void* data, std::size_t size) {
  static const Tables tables = make_tables();
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  crc = ~crc;
  for (; size >= 16; bytes += 16, size -= 16) {
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < 16; ++i) {
      const std::uint8_t mixed = static_cast<std::uint8_t>(i < 4 ? bytes[i] ^ crc >> (8 * i) : bytes[i]);
      next ^= tables[15 - i][mixed];
    }
    crc = next;
  }
  for (; size != 0; ++bytes, --size) crc = crc >> 8 ^ tables[0][(crc ^ *bytes) & 255];
  return ~crc;
}

std::uint32_t crc32(std::uint32_t crc, const void* data, std::size_t size) {
#if defined(__x86_64__)
  static const bool accelerated = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  if (accelerated && size >= 64) {
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    const std::uint32_t folded = fold_blocks(~crc, bytes, size);
    return crc32_portable(~folded, bytes, size);
  }
#endif
  return crc32_portable(crc, data, size);
}

}  // namespace flashconvert::checkpoint
