// Grouped heads with few queries: the queries of all heads that share keys and values become the rows of one head, so
// that a block's tile is fuller and those keys and values are read once. No CUDA here.
#pragma once

#include "parameters.h"

namespace flashconvert::kernels {

// The parameters for a kernel that knows packed heads (RowOffsets, visible_keys in device/schedule.cuh), with its heads
// packed where that makes fewer tiles and the problem allows it:
// - The tile is one for few queries, and a head's queries fill it once at most.
// - The bias is the same for every query and head, or there is one query.
// - The groups are not so large that a product and a shift would no longer divide by their size.
KernelParameters make_packed_parameters(const AttentionProblem& problem, int tile_rows);

}  // namespace flashconvert::kernels
