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

__device__ __forceinline__ KeyTiles visible_key_tiles(const KernelParameters& p, int first_row, int tile_rows,
                                                      int tile_keys) {
  const int last_row = min(first_row + tile_rows, p.query_length) - 1;
  const int first_key = max(first_row + p.first_visible, 0);
  const int end_key = min(last_row + p.last_visible + 1, p.key_length);
  if (end_key <= first_key) return {0, 0, 0, 0};

  KeyTiles tiles;
  tiles.first = first_key / tile_keys;
  tiles.end = (end_key + tile_keys - 1) / tile_keys;
  // The last row sees the fewest keys on the left, the first row the fewest on the right.
  const int common_first = max(last_row + p.first_visible, 0);
  const int common_end = max(min(first_row + p.last_visible + 1, p.key_length), 0);
  tiles.plain_end = min(max(common_end / tile_keys, tiles.first), tiles.end);
  tiles.plain_first = min(max((common_first + tile_keys - 1) / tile_keys, tiles.first), tiles.plain_end);
  return tiles;
}

// The keys [first, first + count) that one query sees.
struct VisibleKeys {
  int first;
  int count;
};

__device__ __forceinline__ VisibleKeys visible_keys(const KernelParameters& p, int row) {
  const int first = max(row + p.first_visible, 0);
  const int end = min(row + p.last_visible + 1, p.key_length);
  return {first, max(end - first, 0)};
}

__device__ __forceinline__ bool is_visible(const VisibleKeys& keys, int key) {
  return static_cast<unsigned>(key - keys.first) < static_cast<unsigned>(keys.count);
}

}  // namespace flashconvert::kernels
