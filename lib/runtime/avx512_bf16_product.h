// Matrix products of AVX512-BF16: float32 sums of products of bfloat16 numbers, two of them an instruction and lane.
// Subnormal operands count as zero, as in all of these instructions.
//
// A, [rows, depth], lies in memory row by row. B, [depth, columns], is packed into panels of 64 columns, in which two
// numbers that are neighbours along the depth are neighbours in memory: [columns / 64][depth / 2][64][2].
#pragma once

// GCC 12 takes the undefined operands in the bodies of its own intrinsics for mistakes (bug 105593).
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#define FLASHCONVERT_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

namespace flashconvert::runtime::avx512_bf16 {

constexpr std::int64_t kLanes = 16;  // float32 numbers, or pairs of bfloat16 numbers, in a register
constexpr std::int64_t kPanel = 64;
constexpr std::int64_t kPairs = 2 * kPanel;  // elements of a panel for one pair along the depth

// Of the 32 registers, 24 hold sums, 4 a part of B and 1 a pair of A. The instructions take 4 to 6 cycles, and two
// start in each: 12 sums at least keep them busy.
constexpr std::int64_t kTileRows = 6;
constexpr std::int64_t kTileVectors = kPanel / kLanes;

constexpr std::int64_t divide_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }
constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return divide_up(value, multiple) * multiple;
}

constexpr std::int64_t panel_elements(std::int64_t depth) { return round_up(depth, 2) * kPanel; }

// The low `count` lanes, of 16 and of 32.
inline __mmask16 lanes16(std::int64_t count) {
  return static_cast<__mmask16>((std::uint32_t{1} << std::clamp<std::int64_t>(count, 0, 16)) - 1);
}
inline __mmask32 lanes32(std::int64_t count) {
  return static_cast<__mmask32>((std::uint64_t{1} << std::clamp<std::int64_t>(count, 0, 32)) - 1);
}

// C = A B, or, with a factor for each row, C = factor C + A B.
struct ProductTile {
  const std::uint16_t* a;
  std::int64_t a_stride;
  const std::uint16_t* panel;
  std::int64_t pairs;
  float* c;
  std::int64_t c_stride;
  const float* factors;
};

template <int kRows, int kVectors>
FLASHCONVERT_AVX512_BF16 void multiply_tile(const ProductTile& tile) {
  __m512 sums[kRows][kVectors];
  for (int row = 0; row < kRows; ++row) {
    for (int vector = 0; vector < kVectors; ++vector) {
      sums[row][vector] = _mm512_setzero_ps();
    }
  }
  const std::uint16_t* b = tile.panel;
  for (std::int64_t pair = 0; pair < tile.pairs; ++pair, b += kPairs) {
    __m512bh columns[kVectors];
    for (int vector = 0; vector < kVectors; ++vector) {
      columns[vector] = (__m512bh)_mm512_loadu_si512(b + vector * (2 * kLanes));
    }
    for (int row = 0; row < kRows; ++row) {
      std::int32_t two = 0;
      std::memcpy(&two, tile.a + row * tile.a_stride + 2 * pair, sizeof(two));
      const auto weight = (__m512bh)_mm512_set1_epi32(two);
      for (int vector = 0; vector < kVectors; ++vector) {
        sums[row][vector] = _mm512_dpbf16_ps(sums[row][vector], weight, columns[vector]);
      }
    }
  }
  // Unrolled before GCC decides where the sums live: in registers, not in memory.
#pragma GCC unroll 6
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 4
    for (int vector = 0; vector < kVectors; ++vector) {
      float* c = tile.c + row * tile.c_stride + vector * kLanes;
      __m512 sum = sums[row][vector];
      if (tile.factors != nullptr) {
        sum = _mm512_fmadd_ps(_mm512_set1_ps(tile.factors[row]), _mm512_loadu_ps(c), sum);
      }
      _mm512_storeu_ps(c, sum);
    }
  }
}

template <std::size_t... index>
constexpr auto tile_functions(std::index_sequence<index...>) {
  return std::array{&multiply_tile<index / kTileVectors + 1, index % kTileVectors + 1>...};
}

// The whole product, a tile at a time. Writes whole vectors of columns. Panels are `panel_stride` elements apart.
inline void multiply(const ProductTile& whole, std::int64_t rows, std::int64_t columns, std::int64_t panel_stride) {
  constexpr auto kFunctions = tile_functions(std::make_index_sequence<kTileRows * kTileVectors>());
  for (std::int64_t column = 0; column < columns; column += kPanel) {
    const std::int64_t vectors = divide_up(std::min(kPanel, columns - column), kLanes);
    for (std::int64_t row = 0; row < rows; row += kTileRows) {
      ProductTile tile = whole;
      tile.a += row * whole.a_stride;
      tile.panel += column / kPanel * panel_stride;
      tile.c += row * whole.c_stride + column;
      tile.factors = whole.factors == nullptr ? nullptr : whole.factors + row;
      kFunctions[(std::min(kTileRows, rows - row) - 1) * kTileVectors + vectors - 1](tile);
    }
  }
}

FLASHCONVERT_AVX512_BF16 inline __m512i load_features(const std::uint16_t* row, std::int64_t count) {
  return _mm512_maskz_loadu_epi16(lanes32(count), row);
}

// Row i of the result is column i. Interleaving the first half of the rows with the second, lane by lane, moves the
// highest bit of an element's row to the lowest of its column; four times swap the two.
FLASHCONVERT_AVX512_BF16 inline void transpose(__m512i (&rows)[kLanes]) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  for (int bit = 0; bit < 4; ++bit) {
    __m512i mixed[kLanes];
    for (std::int64_t i = 0; i < 8; ++i) {
      mixed[2 * i] = _mm512_permutex2var_epi32(rows[i], low, rows[i + 8]);
      mixed[2 * i + 1] = _mm512_permutex2var_epi32(rows[i], high, rows[i + 8]);
    }
    std::copy(std::begin(mixed), std::end(mixed), std::begin(rows));
  }
}

// Packs the transpose of `rows` [columns, depth]: the keys.
FLASHCONVERT_AVX512_BF16 inline void pack_transposed(const std::uint16_t* rows, std::int64_t stride,
                                                     std::int64_t columns, std::int64_t depth, std::uint16_t* panels) {
  const std::int64_t pairs = divide_up(depth, 2);
  for (std::int64_t column = 0; column < columns; column += kLanes) {
    std::uint16_t* panel = panels + column / kPanel * panel_elements(depth) + column % kPanel * 2;
    for (std::int64_t pair = 0; pair < pairs; pair += kLanes) {
      __m512i block[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        const bool exists = column + i < columns;
        block[i] =
            exists ? load_features(rows + (column + i) * stride + 2 * pair, depth - 2 * pair) : _mm512_setzero_si512();
      }
      transpose(block);
      for (int i = 0; i < std::min(kLanes, pairs - pair); ++i) {
        _mm512_storeu_si512(panel + (pair + i) * kPairs, block[i]);
      }
    }
  }
}

// Packs `rows` [depth, columns], into panels that may be meant for more: the values.
FLASHCONVERT_AVX512_BF16 inline void pack(const std::uint16_t* rows, std::int64_t stride, std::int64_t depth,
                                          std::int64_t columns, std::int64_t panel_stride, std::uint16_t* panels) {
  const __m512i step = _mm512_set1_epi32(0x00010001);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  // Lanes 0, 32, 1, 33, ... of 16 bits each.
  const __m512i low = _mm512_add_epi32(_mm512_mullo_epi32(lane, step), _mm512_set1_epi32(32 << 16));
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(kLanes));
  for (std::int64_t row = 0; row < depth; row += 2) {
    const std::uint16_t* even = rows + row * stride;
    for (std::int64_t column = 0; column < columns; column += 2 * kLanes) {
      const std::int64_t rest = columns - column;
      const __m512i first = load_features(even + column, rest);
      const __m512i second = row + 1 < depth ? load_features(even + stride + column, rest) : _mm512_setzero_si512();
      std::uint16_t* panel = panels + column / kPanel * panel_stride + row * kPanel + column % kPanel * 2;
      _mm512_storeu_si512(panel, _mm512_permutex2var_epi16(first, low, second));
      _mm512_storeu_si512(panel + 2 * kLanes, _mm512_permutex2var_epi16(first, high, second));
    }
  }
}

}  // namespace flashconvert::runtime::avx512_bf16
