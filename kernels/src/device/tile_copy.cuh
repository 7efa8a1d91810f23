// Copies a tile of rows between global and shared memory, 16 bytes a thread, zeros beyond the last row and column.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../ptx/async_copy.cuh"
#include "thread.cuh"

namespace flashconvert::kernels {

// How the threads of a block divide a tile: eight (or four) neighbouring lanes take one row, so that a warp's requests
// are whole 128-byte (or 64-byte) lines.
template <class T, class Layout, int kRows, int kColumns, int kThreads>
struct TileCopy {
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  // elements in 16 bytes
  static constexpr int kRowChunks = kColumns / kChunk;
  static constexpr int kLanes = kRowChunks % 8 == 0 ? 8 : 4;
  static constexpr int kPassRows = kThreads / kLanes;
  static constexpr bool kIdleThreads = kRows < kPassRows;  // those beyond the last row
  static_assert(kRowChunks % kLanes == 0 && (kIdleThreads || kRows % kPassRows == 0),
                "every thread that copies at all copies the same number of chunks");

  struct Source {
    const T* first;  // element 0 of the tile's first row
    std::int64_t row_stride;
    int rows;     // rows that exist, may exceed kRows or be 0
    int columns;  // columns that exist, at most kColumns
  };

  // Starts the copies; the caller commits them. Every row of the source starts at a multiple of 16 bytes. One pointer
  // moves down the rows: an offset for each of them would stay in registers through the whole kernel.
  static __device__ __forceinline__ void load_async(std::uint32_t shared, const Source& source) {
    const int thread = thread_index();
    const int first_row = thread / kLanes;
    if (kIdleThreads && first_row >= kRows) return;
    const int first_column = thread % kLanes * kChunk;
    // An unsigned number has no upper half, which would take a register through the whole kernel (with float32, where
    // ptxas spills anyway, it spills less with one).
    using Column = std::conditional_t<sizeof(T) == 2, std::uint32_t, int>;
    const T* from = source.first + first_row * source.row_stride + static_cast<Column>(first_column);
    const std::uint32_t to = shared + Layout::offset(first_row, first_column);
#pragma unroll
    for (int pass = 0; pass < kRows; pass += kPassRows) {
      const int columns = first_row + pass < source.rows ? source.columns - first_column : 0;
#pragma unroll
      for (int step = 0; step < kRowChunks / kLanes; ++step) {
        const int column = step * kLanes * kChunk;
        const int elements = min(max(columns - column, 0), kChunk);
        ptx::copy_async_16(to + Layout::step_offset(pass, column), from + column, elements * sizeof(T));
      }
      from += kPassRows * source.row_stride;
    }
  }

  // The same for rows that follow each other in no one stride: `first` is element 0 of the tile's first row,
  // `row_offset(row)` where a row begins.
  template <class RowOffset>
  static __device__ __forceinline__ void load_rows_async(std::uint32_t shared, const T* first,
                                                         const RowOffset& row_offset, int rows, int columns) {
    for_each_chunk([&](int row, int column) {
      const int elements = row < rows ? min(max(columns - column, 0), kChunk) : 0;
      const T* from = elements > 0 ? first + row_offset(row) + column : first;
      ptx::copy_async_16(shared + Layout::offset(row, column), from, elements * sizeof(T));
    });
  }

  // Copies element by element, for rows that start anywhere.
  template <class RowOffset>
  static __device__ __forceinline__ void load_elements(char* shared, const T* first, const RowOffset& row_offset,
                                                       int rows, int columns) {
    for_each_chunk([&](int row, int column) {
      alignas(16) T chunk[kChunk];
#pragma unroll
      for (int i = 0; i < kChunk; ++i) {
        const bool exists = row < rows && column + i < columns;
        chunk[i] = exists ? first[row_offset(row) + column + i] : T(0.F);
      }
      *reinterpret_cast<uint4*>(shared + Layout::offset(row, column)) = *reinterpret_cast<const uint4*>(chunk);
    });
  }

  // Whether the elements that this thread copied (and whose copies it has waited for) are all finite.
  static __device__ __forceinline__ bool own_elements_are_finite(const char* shared) {
    static_assert(sizeof(T) == 4, "16 bytes are read as four floats");
    float nothing = 0.F;  // turns into NaN
    for_each_chunk([&](int row, int column) {
      const float4 x = *reinterpret_cast<const float4*>(shared + Layout::offset(row, column));
      nothing = fmaf(x.x, 0.F, fmaf(x.y, 0.F, fmaf(x.z, 0.F, fmaf(x.w, 0.F, nothing))));
    });
    return nothing == 0.F;
  }

private:
  template <class Visit>
  static __device__ __forceinline__ void for_each_chunk(const Visit& visit) {
    const int thread = thread_index();
    const int lane = thread % kLanes;
    const int first_row = thread / kLanes;
    if (kIdleThreads && first_row >= kRows) return;
#pragma unroll
    for (int pass = 0; pass < kRows; pass += kPassRows) {
#pragma unroll
      for (int step = 0; step < kRowChunks / kLanes; ++step) {
        visit(first_row + pass, (lane + step * kLanes) * kChunk);
      }
    }
  }
};

// Writes `rows` x `columns` of a warp's own finished tile from shared to global memory. `shared` is the tile's start,
// `first_row` the warp's first row in it; row r goes to `output + row_offset(r)`.
template <class T, class Layout, int kRows, int kColumns, class RowOffset>
__device__ __forceinline__ void store_warp_tile(T* output, const RowOffset& row_offset, int rows, int columns,
                                                bool vector_stores, const char* shared, int first_row) {
  constexpr int kChunk = 16 / static_cast<int>(sizeof(T));
  constexpr int kRowChunks = kColumns / kChunk;
  const int lane = lane_index();
#pragma unroll 4
  for (int index = lane; index < kRows * kRowChunks; index += 32) {
    const int row = index / kRowChunks;
    const int column = index % kRowChunks * kChunk;
    if (row >= rows || column >= columns) continue;
    const uint4 chunk = *reinterpret_cast<const uint4*>(shared + Layout::offset(first_row + row, column));
    T* to = output + row_offset(row) + column;
    if (vector_stores && column + kChunk <= columns) {
      *reinterpret_cast<uint4*>(to) = chunk;
    } else {
      alignas(16) T elements[kChunk];
      *reinterpret_cast<uint4*>(elements) = chunk;
#pragma unroll
      for (int i = 0; i < kChunk; ++i) {
        if (column + i < columns) to[i] = elements[i];
      }
    }
  }
}

}  // namespace flashconvert::kernels
