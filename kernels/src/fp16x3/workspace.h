// Where the halves of float32 operands and their scales lie in the workspace. No CUDA here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "flashconvert/kernels/attention.h"

namespace flashconvert::kernels::fp16x3 {

// The shape of a tile, as far as the workspace depends on it. Queries have a scale for each row; keys and values one
// for each tile.
struct TileSizes {
  int columns;  // of head and value: padded with zeros to the tile's
  int keys;
};

// Offsets in bytes from the start of the workspace, multiples of 256; the facts come first. A row of halves is its high
// halves, then its low ones.
struct Layout {
  std::int64_t tiles;  // of a head's keys
  std::size_t query_scales;
  std::size_t key_scales;
  std::size_t value_scales;
  std::size_t query;
  std::size_t key;
  std::size_t value;
  std::size_t bytes;
};

Layout make_layout(const AttentionProblem& problem, const TileSizes& tile);

}  // namespace flashconvert::kernels::fp16x3
