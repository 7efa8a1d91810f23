// Few queries and many keys: where the tiles of queries do not occupy the card, several blocks share the keys of each.
// They leave unfinished rows in the workspace, and a second kernel (device/combine_splits.cuh) puts these together; or,
// a few blocks on a card that has clusters, they read them from each other's shared memory. How many blocks, and what
// room they need. No CUDA here.
#pragma once

#include <cstddef>

#include "parameters.h"
#include "tuning.h"

namespace flashconvert::kernels {

// More than any card has. `workspace_bytes` does not know the card, and makes room for as many splits as it would take
// to fill this one.
inline constexpr int kMostMultiprocessors = 256;

inline constexpr int kMostSplitsInCluster = 8;  // a cluster that every card with clusters takes

// The blocks that share the keys of each tile of queries, on a card that runs `resident_blocks` of them at a time. All
// of them run at once: a second wave that is not full would cost more than it brings.
int split_count(const KernelParameters& parameters, const TileShape& tile, int resident_blocks);

// Whether so many splits fit in one cluster of any card that has clusters, and a tile's unfinished rows in the
// `shared_bytes` of each block.
bool fit_in_cluster(const KernelParameters& parameters, int splits, const TileShape& tile, int shared_bytes);

// Room for the unfinished rows of as many splits as any card takes; 0 where none does.
std::size_t split_workspace_bytes(const AttentionProblem& problem, const TileShape& tile);

// Notes the number of splits, and where in the workspace their rows lie.
void set_splits(KernelParameters& parameters, int splits, void* workspace);

}  // namespace flashconvert::kernels
