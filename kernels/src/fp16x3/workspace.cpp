// Lays out the workspace: see workspace.h.
#include "workspace.h"

namespace flashconvert::kernels::fp16x3 {

Layout make_layout(const AttentionProblem& problem, const TileSizes& tile) {
  constexpr std::size_t kFactsBytes = 256;
  constexpr std::size_t kAlignment = 256;
  Layout layout = {};
  layout.tiles = (problem.key_length + tile.keys - 1) / tile.keys;
  const std::int64_t query_rows = problem.batch * problem.heads * problem.query_length;
  const std::int64_t key_heads = problem.batch * problem.key_heads;
  std::size_t next = kFactsBytes;
  const auto take = [&](std::int64_t count, std::size_t element_bytes) {
    const std::size_t at = next;
    next += (static_cast<std::size_t>(count) * element_bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  };
  constexpr std::size_t kHalvesBytes = 4;  // two halves of an element
  layout.query_scales = take(query_rows, sizeof(float));
  layout.key_scales = take(key_heads * layout.tiles, sizeof(float));
  layout.value_scales = take(key_heads * layout.tiles, sizeof(float));
  layout.query = take(query_rows * tile.columns, kHalvesBytes);
  layout.key = take(key_heads * problem.key_length * tile.columns, kHalvesBytes);
  layout.value = take(key_heads * problem.key_length * tile.columns, kHalvesBytes);
  layout.bytes = next;
  return layout;
}

}  // namespace flashconvert::kernels::fp16x3
