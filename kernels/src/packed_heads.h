// Grouped heads with few queries: the queries of all heads that share keys and values become the rows of one head, so
// that a block's tile is fuller and those keys and values are read once. No CUDA here.
#pragma once

#include "parameters.h"

namespace flashconvert::kernels {

// The parameters for a kernel that knows packed heads (RowOffsets, visible_keys in device/schedule.cuh), with its heads
// packed where that makes fewer tiles and the problem allows it:
// - A head's queries fill at most one tile.
// - The bias is the same for every query and head, or there is one query.
// - Windows tell queries apart by a shift of the row: there is one query, or a power of two of heads.
KernelParameters make_packed_parameters(const AttentionProblem& problem, int tile_rows);

}  // namespace flashconvert::kernels
