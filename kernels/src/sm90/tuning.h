// The tile of every Hopper kernel, with its reason. docs/kernels/hopper.md has the measurements.
#pragma once

#include "flashconvert/kernels/attention.h"
#include "tile.h"

namespace flashconvert::kernels::sm90 {

// Plain kernels. Three computing warpgroups where the accumulators fit in 160 registers, two (232) elsewhere. Two
// places for queries make one pipeline of a block's tiles, worth 5 to 8 % at 512 keys; where shared memory has no room
// for a second, the larger tile of keys is worth more in long sequences.
//                 D    Dv  warpgroups  keys  stages  query places
using D32 = Tile<32, 32, 3, 128, 2, 2, Turns::kOrdered, LookUp::kAhead>;
using D64 = Tile<64, 64, 3, 128, 2, 2, Turns::kOrdered, LookUp::kAhead>;
using D96 = Tile<96, 96, 3, 96, 2, 2, Turns::kOrdered, LookUp::kWhenIssued>;  // looking ahead costs 2 % here
using D128 = Tile<128, 128, 2, 128, 2, 2, Turns::kOrdered, LookUp::kAhead>;
using D192V128 = Tile<192, 128, 2, 128, 2, 1, Turns::kOrdered, LookUp::kAhead>;
using D192 = Tile<192, 192, 2, 112, 2, 1, Turns::kOrdered, LookUp::kAhead>;
using D256 = Tile<256, 256, 2, 80, 2, 1, Turns::kFree, LookUp::kWhenIssued>;
// For few queries, where tiles of 192 would be padded much further. The first is for D = 32 too: what it multiplies in
// vain costs less than empty rows.
using D64Rows128 = Tile<64, 64, 2, 128, 2, 2, Turns::kOrdered, LookUp::kWhenIssued>;
using D96Rows128 = Tile<96, 96, 2, 128, 2, 2, Turns::kOrdered, LookUp::kWhenIssued>;
// For many keys: 9 steps fewer in 32, and no room for a second place for queries.
using D128Long = Tile<128, 128, 2, 176, 2, 1, Turns::kOrdered, LookUp::kAhead>;

// With a softcap. Looking ahead takes registers: at D 64 two too many.
using D64Capped = Tile<64, 64, 3, 128, 2, 2, Turns::kOrdered, LookUp::kWhenIssued, ScoreMode::kCapped>;
using D128Capped = Tile<128, 128, 2, 128, 2, 2, Turns::kOrdered, LookUp::kAhead, ScoreMode::kCapped>;
using D256Capped = Tile<256, 256, 2, 80, 2, 1, Turns::kFree, LookUp::kWhenIssued, ScoreMode::kCapped>;

// With a bias that all queries share. Three warpgroups have registers for 96 keys: 2 % slower in long sequences, 6 % at
// 512 keys.
using D64KeyBias = Tile<64, 64, 2, 128, 2, 2, Turns::kOrdered, LookUp::kAhead, ScoreMode::kKeyBias>;
using D128KeyBias = Tile<128, 128, 2, 128, 2, 2, Turns::kOrdered, LookUp::kAhead, ScoreMode::kKeyBias>;

// With a bias for each query and key: two tiles of it take as much shared memory as the keys and values of D64.
using D64Bias = Tile<64, 64, 2, 128, 2, 2, Turns::kOrdered, LookUp::kAhead, ScoreMode::kBias>;
using D128Bias = Tile<128, 128, 2, 128, 2, 1, Turns::kOrdered, LookUp::kAhead, ScoreMode::kBias>;

// With everything: the elements of the bias on their way take as many registers as the scores.
using D64General = Tile<64, 64, 2, 64, 2, 2, Turns::kOrdered, LookUp::kWhenIssued, ScoreMode::kGeneral>;
using D128General = Tile<128, 128, 2, 64, 2, 2, Turns::kOrdered, LookUp::kWhenIssued, ScoreMode::kGeneral>;
using D256General = Tile<256, 256, 2, 32, 2, 1, Turns::kFree, LookUp::kWhenIssued, ScoreMode::kGeneral>;

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
