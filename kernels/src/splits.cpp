// Chooses the number of splits and lays out their results: see splits.h.
#include "splits.h"

#include <algorithm>

#include "packed_heads.h"

namespace flashconvert::kernels {
namespace {

// Fewer tiles of keys than this for a block cost more than they save: it has to fetch its queries, and to leave
// partial_columns + 2 numbers a row that are read again.
constexpr std::int64_t kLeastTilesOfSplit = 2;
constexpr std::int64_t kLeastTilesToSplit = 6;

std::int64_t ceil_div(std::int64_t value, std::int64_t divisor) { return (value + divisor - 1) / divisor; }

// The tiles of keys that some tile of queries sees, at most.
std::int64_t most_key_tiles(const KernelParameters& p, const TileShape& tile) {
  const std::int64_t last_query = (p.query_length - 1) / p.packed_heads;
  const std::int64_t tile_queries = std::min<std::int64_t>((tile.rows() - 1) / p.packed_heads, last_query) + 1;
  const std::int64_t first_key = std::max(p.first_visible, 0);
  const std::int64_t end_key = std::min<std::int64_t>(last_query + p.last_visible + 1, p.key_length);
  const std::int64_t width = std::int64_t{p.last_visible} - p.first_visible + tile_queries;
  return ceil_div(std::max<std::int64_t>(std::min(end_key - first_key, width), 0), tile.keys);
}

// Splits that are full enough, as many as can run at once.
std::int64_t most_splits(const KernelParameters& p, std::int64_t key_tiles, int resident_blocks) {
  if (key_tiles < kLeastTilesToSplit) return 1;
  const std::int64_t blocks = std::int64_t{p.query_tiles} * p.total_heads;
  return std::max<std::int64_t>(std::min(resident_blocks / blocks, key_tiles / kLeastTilesOfSplit), 1);
}

int partial_columns(std::int64_t value_dim) { return static_cast<int>(ceil_div(value_dim, 4) * 4); }

std::int64_t partial_rows(const KernelParameters& p, std::int64_t splits) {
  return splits * p.total_heads * p.query_length;
}

}  // namespace

int split_count(const KernelParameters& parameters, const TileShape& tile, int resident_blocks) {
  const std::int64_t key_tiles = most_key_tiles(parameters, tile);
  const std::int64_t most = most_splits(parameters, key_tiles, resident_blocks);
  // Not more than it takes for the largest share to be as small: 17 tiles in 8 shares have 3 as in 6.
  return most == 1 ? 1 : static_cast<int>(ceil_div(key_tiles, ceil_div(key_tiles, most)));
}

bool fit_in_cluster(const KernelParameters& parameters, int splits, const TileShape& tile, int shared_bytes) {
  const std::int64_t rows = std::int64_t{std::min(parameters.query_length, tile.rows())} * tile.key_warps;
  return splits > 1 && splits <= kMostSplitsInCluster &&
         rows * (partial_columns(parameters.value_dim) + 2) * std::int64_t{sizeof(float)} <= shared_bytes;
}

std::size_t split_workspace_bytes(const AttentionProblem& problem, const TileShape& tile) {
  if (problem.batch == 0 || problem.heads == 0 || problem.query_length == 0) return 0;
  const KernelParameters p = make_packed_parameters(problem, tile.rows());
  const std::int64_t splits = most_splits(p, most_key_tiles(p, tile), kMostMultiprocessors * tile.blocks_per_sm);
  if (splits == 1) return 0;
  return static_cast<std::size_t>(partial_rows(p, splits) * (partial_columns(problem.value_dim) + 2)) * sizeof(float);
}

void set_splits(KernelParameters& parameters, int splits, void* workspace) {
  parameters.splits = splits;
  parameters.partial_columns = partial_columns(parameters.value_dim);
  if (splits == 1) return;
  parameters.partial_outputs = static_cast<float*>(workspace);
  parameters.partial_sums = parameters.partial_outputs + partial_rows(parameters, splits) * parameters.partial_columns;
}

}  // namespace flashconvert::kernels
