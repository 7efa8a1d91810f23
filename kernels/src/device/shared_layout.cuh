// Where an element of a tile lies in shared memory, so that ldmatrix (8 rows, 16 bytes of each, at a time) and the
// 16-byte copies touch every bank once.
#pragma once

#include <cstdint>

namespace flashconvert::kernels {

// 16-bit tiles: rows follow each other without gaps, and the 16-byte chunks within each 128 (or 64) bytes are permuted
// by an exclusive-or with the row number. The eight chunks of one column then fall into eight different bank groups.
template <int kColumns>
struct SwizzledLayout {
  static_assert(kColumns % 32 == 0, "a row is a whole number of 64-byte spans");
  static constexpr int kRowBytes = kColumns * 2;
  // Rows that are a multiple of 128 bytes long all start at bank 0: permute by row % 8. Otherwise consecutive rows
  // start 64 bytes apart, so two rows share one permutation of four chunks.
  static constexpr bool kWide = kColumns % 64 == 0;
  static constexpr std::uint32_t kSpanMask = kWide ? 0x7f : 0x3f;

  static __host__ __device__ constexpr std::uint32_t swizzle(int row) {
    return kWide ? (row & 7) << 4 : ((row >> 1) & 3) << 4;
  }

  // Byte offset of `column`, whose chunk of eight is `column / 8`.
  static __host__ __device__ constexpr std::uint32_t offset(int row, int column) {
    return row * kRowBytes + ((static_cast<std::uint32_t>(column) * 2) ^ swizzle(row));
  }

  // What `rows` and `columns` more add to an offset: both are multiples of the permutation's period.
  static __host__ __device__ constexpr std::uint32_t step_offset(int rows, int columns) {
    return rows * kRowBytes + columns * 2;
  }
};

// fp32 tiles: rows are padded by 16 bytes. Row r then starts 4r banks on, which serves ldmatrix, and the reads of
// value tiles, where lanes g = 0..7, t = 0..3 take 16 bytes at row 2t, column 4g, a quarter of a warp at a time.
template <int kColumns>
struct PaddedLayout {
  static_assert(kColumns % 32 == 0, "the padded row length is 4 banks more than a multiple of 32");
  static constexpr int kRowBytes = (kColumns + 4) * 4;

  static __host__ __device__ constexpr std::uint32_t offset(int row, int column) {
    return row * kRowBytes + static_cast<std::uint32_t>(column) * 4;
  }

  static __host__ __device__ constexpr std::uint32_t step_offset(int rows, int columns) {
    return offset(rows, columns);
  }
};

}  // namespace flashconvert::kernels
