// The shape of a Hopper kernel for float32 operands in halves, and the values: as tile.h and tuning.h are for 16 bits.
// Host code too.
#pragma once

#include <algorithm>

#include "../fp16x3/workspace.h"
#include "tile.h"

namespace flashconvert::kernels::sm90 {

// What a warpgroup's softmax runs beside: its own products as well, or those of the others alone, which takes fewer
// registers.
enum class Overlap { kOwnProducts, kOthers };

// `kChunk`: columns of the output that one product makes. The accumulators of a product are added to the output by
// ordinary instructions after each tile of keys; where both do not fit in the registers, the output is made in chunks.
template <int kDim, int kWarpgroups_, int kKeys_, int kStages_, int kQueryStages_, int kChunk_,
          ScoreMode kMode_ = ScoreMode::kPlain, Overlap kOverlap = Overlap::kOwnProducts>
struct SplitTile {
  static constexpr int kHeadDim = kDim;
  static constexpr int kValueDim = kDim;
  static constexpr int kWarpgroups = kWarpgroups_;
  static constexpr int kKeys = kKeys_;
  static constexpr int kStages = kStages_;
  static constexpr int kQueryStages = kQueryStages_;
  static constexpr int kChunk = kChunk_;
  static constexpr bool kOverlaps = kOverlap == Overlap::kOwnProducts;
  static constexpr bool kTurns = kOverlaps;
  static constexpr ScoreMode kMode = kMode_;

  // Tensor cores round toward zero at every 16 terms: more than this many are not summed up at once. In QK two sums are
  // all that the registers hold.
  static constexpr int kScoreParts = kDim > 96 ? 2 : 1;
  static constexpr int kSumKeys = kKeys > 64 ? kKeys / 2 : kKeys;

  static constexpr int kRows = kWarpgroups * kWarpgroupRows;
  static constexpr int kThreads = (kWarpgroups + 1) * kWarpgroupThreads;

  // High halves, then low ones: to the copy engine, a tile of twice the columns.
  static constexpr int kHeadColumns = 2 * kDim;
  static constexpr int kValueColumns = 2 * kDim;
  static constexpr ptx::Swizzle kHeadSwizzle = swizzle_of(kDim);
  static constexpr ptx::Swizzle kValueSwizzle = swizzle_of(kDim);

  static constexpr int kQueryBytes = kRows * kHeadColumns * 2;
  static constexpr int kKeyBytes = kKeys * kHeadColumns * 2;
  static constexpr int kValueBytes = kKeys * kValueColumns * 2;
  static constexpr int kBiasBytes = kMode == ScoreMode::kKeyBias ? kKeys * 4 : 0;

  static constexpr int kLaunchRegisters = kRegistersPerSm / kThreads / 8 * 8;
  static constexpr int kLoaderRegisters = kMode == ScoreMode::kKeyBias || kDim > 128 ? 40 : 24;
  static constexpr int kComputeRegisters = kLoaderRegisters == 40 ? 232 : 240;
  static_assert(kWarpgroups == 2, "one would have nobody to meet its softmax with products");

  // The output, and with overlap all of scores, weights in two halves, and one chunk of a product; without, the first
  // two or the last two.
  static constexpr int kScores = kScoreParts * kKeys / 2;
  static constexpr int kAccumulators =
      kValueDim / 2 +
      (kOverlaps ? kScores + kKeys / 2 + kChunk / 2 : std::max(kScores, kKeys / 2 + std::max(kKeys, kChunk) / 2));
  static_assert(kAccumulators + 30 <= kComputeRegisters, "the tile does not fit in the registers");
  static_assert(kDim % (16 * kScoreParts) == 0 && kKeys % kSumKeys == 0 && kSumKeys % 16 == 0,
                "wgmma takes 16 terms at a time");
  static_assert(kDim % kChunk == 0 && (kChunk == kDim || kChunk % ptx::panel_columns(kValueSwizzle) == 0),
                "a chunk is whole panels");

  static constexpr fp16x3::TileSizes kSizes = {kDim, kKeys};
};

//                    D   warpgroups keys stages query places chunk
using Split32 = SplitTile<32, 2, 128, 2, 2, 32>;
using Split64 = SplitTile<64, 2, 128, 2, 2, 64>;
using Split96 = SplitTile<96, 2, 64, 2, 2, 96>;
using Split128 = SplitTile<128, 2, 64, 2, 1, 64>;
using Split192 = SplitTile<192, 2, 48, 1, 1, 64, ScoreMode::kPlain, Overlap::kOthers>;
using Split256 = SplitTile<256, 2, 48, 1, 1, 64, ScoreMode::kPlain, Overlap::kOthers>;

using Split64KeyBias = SplitTile<64, 2, 96, 2, 2, 64, ScoreMode::kKeyBias>;
using Split128KeyBias = SplitTile<128, 2, 64, 2, 1, 64, ScoreMode::kKeyBias>;

using Split64General = SplitTile<64, 2, 64, 2, 2, 64, ScoreMode::kGeneral>;
using Split128General = SplitTile<128, 2, 32, 2, 1, 64, ScoreMode::kGeneral>;

}  // namespace flashconvert::kernels::sm90
