// Splitting the rows of a matrix into halves in memory, for an operand that many tiles read.
#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>

#include "flashconvert/kernels/linear.h"
#include "row_scale.h"

namespace flashconvert::kernels::linear {

// Halves of 32 elements of a row follow each other, high and then low: 128 bytes. The last group is filled with zeros.
constexpr std::int64_t split_row_halves(std::int64_t columns) { return (columns + 31) / 32 * 64; }

// Splits `rows` rows of `columns` elements. `halves` has rows * split_row_halves(columns) elements of 2 bytes, aligned
// to 16 bytes; `scales` one entry a row.
cudaError_t split_rows(const MatrixView& matrix, std::int64_t rows, std::int64_t columns, void* halves,
                       RowScale* scales, cudaStream_t stream);

// Copies a matrix so that its rows are contiguous, `row_stride` elements apart.
cudaError_t pack_rows(const MatrixView& matrix, std::int64_t rows, std::int64_t columns, float* packed,
                      std::int64_t row_stride, cudaStream_t stream);

}  // namespace flashconvert::kernels::linear
