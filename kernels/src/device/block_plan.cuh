// A block of attention_kernel: what it knows of its work, and what lies where in its shared memory.
#pragma once

#include "../parameters.h"
#include "../tuning.h"
#include "schedule.cuh"

namespace flashconvert::kernels {

// What is the same for the whole block. It lives in shared memory: in registers, where the accumulators leave a few
// dozen at most, it would be spilled.
struct BlockState {
  Work work;
  KeyTiles tiles;
  const void* keys;  // of the block's head
  const void* values;
  std::int64_t bias_offset;
};

// Larger tiles than those for few queries do not know packed heads, which would cost them registers.
template <class Engine>
inline constexpr Rows kRowsOf = Engine::kRows <= kMostPackedQueries ? Rows::kPacked : Rows::kQueries;

// Whether splits may be a cluster. The tiles for few queries are built for Hopper by name (sources.cmake); the others
// are not.
template <class Engine>
inline constexpr bool kKnowsClusters = Engine::kSplitsKeys&& Engine::kRows <= kMostPackedQueries;

// What lies where in a block's shared memory: the queries (their place takes the output in the end), then a tile of
// keys and one of values for each stage, then the state.
template <class Engine>
struct SharedMemoryPlan {
  static constexpr int kRowBytes = Engine::Layout::kRowBytes;
  static constexpr int kKeyTileBytes = Engine::kKeys * kRowBytes;
  static constexpr int kQuery = 0;
  static constexpr int kKey = Engine::kRows * kRowBytes;
  static constexpr int kValue = kKey + kKeyTileBytes;
  static constexpr int kStageBytes = 2 * kKeyTileBytes;
  static constexpr int kState = kKey + Engine::kTile.stages * kStageBytes;
  static constexpr int kBytes = kState + kBlockStateBytes;
  static_assert(kBytes == Engine::kSharedBytes, "the tuning table checked another plan");
  static_assert(sizeof(BlockState) <= kBlockStateBytes, "the tuning table reserves too little");
};

}  // namespace flashconvert::kernels
