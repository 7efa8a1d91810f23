// The tile of every Hopper kernel, with its reason. docs/kernels/hopper.md has the measurements.
#pragma once

#include "flashconvert/kernels/attention.h"
#include "tile.h"

namespace flashconvert::kernels::sm90 {

// Plain kernels. Three computing warpgroups where the accumulators fit in 160 registers, two (232) elsewhere. Two
// places for queries make one pipeline of a block's tiles, worth 5 to 8 % at 512 keys; where shared memory has no room
// for a second, the larger tile of keys is worth more in long sequences.
//                        D    Dv  warpgroups  keys  stages  query places
using D32 = Tile<32, 32, 3, 128, 2, 2, Turns::kOrdered>;
using D64 = Tile<64, 64, 3, 128, 2, 2, Turns::kOrdered>;
using D64Rows128 = Tile<64, 64, 2, 128, 2, 2, Turns::kOrdered>;  // where 192 rows would be padded much further
using D96 = Tile<96, 96, 3, 96, 2, 2, Turns::kOrdered>;  // 572 TFLOP/s at 2k keys; two groups with 128 keys: 535
using D128 = Tile<128, 128, 2, 128, 2, 2, Turns::kOrdered>;
using D128Long = Tile<128, 128, 2, 176, 2, 1, Turns::kOrdered>;  // 9 fewer steps in 32, no room for more queries
using D192V128 = Tile<192, 128, 2, 128, 2, 1, Turns::kOrdered>;
using D192 = Tile<192, 192, 2, 112, 2, 1, Turns::kOrdered>;
using D256 = Tile<256, 256, 2, 80, 2, 1, Turns::kFree>;

// General kernels: the elements of the bias on their way take as many registers as the scores.
using D64General = Tile<64, 64, 2, 64, 2, 2, Turns::kOrdered>;
using D128General = Tile<128, 128, 2, 64, 2, 2, Turns::kOrdered>;
using D256General = Tile<256, 256, 2, 32, 2, 1, Turns::kFree>;

// Whether tiles of 192 queries leave hardly more rows empty than tiles of 128 would. They are some 20 % faster on full
// ones.
inline bool fills_192_rows(const AttentionProblem& problem) {
  const auto padded = [&](std::int64_t rows) { return (problem.query_length + rows - 1) / rows * rows; };
  return padded(192) * 16 <= padded(128) * 17;
}

// Whether a query sees so many keys, on average, that the number of steps counts more than where a tile begins and
// ends.
inline bool has_many_keys(const AttentionProblem& problem) {
  const bool is_causal = problem.window_right >= 0 && problem.window_left < 0;
  const bool has_window = problem.window_right >= 0 && problem.window_left >= 0;
  const std::int64_t keys = has_window  ? problem.window_left + problem.window_right + 1
                            : is_causal ? problem.key_length / 2
                                        : problem.key_length;
  return keys >= 3072 && problem.key_length >= 3072;
}

}  // namespace flashconvert::kernels::sm90
