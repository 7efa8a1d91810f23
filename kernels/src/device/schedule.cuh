// Which query tile a block works on, and which key tiles it visits: tiles that no query of the block can see are never
// loaded, and only tiles that the window or the end of the keys cuts through are masked element by element.
#pragma once

#include "../parameters.h"

namespace flashconvert::kernels {

struct Work {
  int batch;
  int head;
  int key_head;
  int first_row;  // of the query tile
};

// Work number `block` in the order of the launch (see KernelParameters).
__device__ __forceinline__ Work decode_block(const KernelParameters& p, int block, int tile_rows) {
  if (p.query_tiles == 1) {  // spares few queries, who wait for this, two divisions
    const int batch = block / p.heads;
    const int head = block - batch * p.heads;
    return {batch, head, head / p.heads_per_key_head, 0};
  }
  const int section_blocks = p.heads_per_section * p.query_tiles;
  const int section = block / section_blocks;
  const int within = block - section * section_blocks;
  const int section_heads = min(p.heads_per_section, p.total_heads - section * p.heads_per_section);
  const int tile = within / section_heads;
  const int flat_head = section * p.heads_per_section + within - tile * section_heads;
  const int batch = flat_head / p.heads;
  const int head = flat_head - batch * p.heads;
  return {batch, head, head / p.heads_per_key_head, (p.query_tiles - 1 - tile) * tile_rows};
}

// Key tiles [first, end), of which [plain_first, plain_end) are seen whole by every query of the tile.
struct KeyTiles {
  int first;
  int plain_first;
  int plain_end;
  int end;
};

// Whether rows may be packed heads (KernelParameters::packed_heads): those who never pack save the division.
enum class Rows : bool { kQueries, kPacked };

template <Rows kRows>
__device__ __forceinline__ int query_of(const KernelParameters& p, int row) {
  return kRows == Rows::kPacked ? row * p.row_multiplier >> p.row_shift : row;
}

template <Rows kRows>
__device__ __forceinline__ KeyTiles visible_key_tiles(const KernelParameters& p, int first_row, int tile_rows,
                                                      int tile_keys) {
  const int first_query = query_of<kRows>(p, first_row);
  const int last_query = query_of<kRows>(p, min(first_row + tile_rows, p.query_length) - 1);
  const int first_key = max(first_query + p.first_visible, 0);
  const int end_key = min(last_query + p.last_visible + 1, p.key_length);
  if (end_key <= first_key) return {0, 0, 0, 0};

  KeyTiles tiles;
  tiles.first = first_key / tile_keys;
  tiles.end = (end_key + tile_keys - 1) / tile_keys;
  // The last query sees the fewest keys on the left, the first one the fewest on the right.
  const int common_first = max(last_query + p.first_visible, 0);
  const int common_end = max(min(first_query + p.last_visible + 1, p.key_length), 0);
  tiles.plain_end = min(max(common_end / tile_keys, tiles.first), tiles.end);
  tiles.plain_first = min(max((common_first + tile_keys - 1) / tile_keys, tiles.first), tiles.plain_end);
  return tiles;
}

// The keys [first, first + count) that the query of one row sees.
struct VisibleKeys {
  int first;
  int count;
};

template <Rows kRows>
__device__ __forceinline__ VisibleKeys visible_keys(const KernelParameters& p, int row) {
  const int query = query_of<kRows>(p, row);
  const int first = max(query + p.first_visible, 0);
  const int end = min(query + p.last_visible + 1, p.key_length);
  return {first, max(end - first, 0)};
}

__device__ __forceinline__ bool is_visible(const VisibleKeys& keys, int key) {
  return static_cast<unsigned>(key - keys.first) < static_cast<unsigned>(keys.count);
}

// Where the rows of a head lie in memory: the offset of each from the first.
struct RowOffsets {
  std::int64_t query_stride;
  std::int64_t packed_stride;
  int packed_heads;

  __device__ __forceinline__ std::int64_t operator()(int row) const {
    if (packed_heads == 1) return row * query_stride;
    const int query = row / packed_heads;
    return query * query_stride + (row - query * packed_heads) * packed_stride;
  }
};

__device__ __forceinline__ RowOffsets query_rows(const KernelParameters& p) {
  return {p.query.row_stride, p.packed_query_stride, p.packed_heads};
}
__device__ __forceinline__ RowOffsets output_rows(const KernelParameters& p) {
  return {p.output.row_stride, p.packed_output_stride, p.packed_heads};
}

}  // namespace flashconvert::kernels
