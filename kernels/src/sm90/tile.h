// The shape of one Hopper kernel: what its template parameters are, and what follows from them. The values are in
// tuning.h. Host code too.
#pragma once

#include "../ptx/matrix_descriptor.h"
#include "score_mode.h"

namespace flashconvert::kernels::sm90 {

inline constexpr int kWarpThreads = 32;
inline constexpr int kWarpgroupThreads = 128;
inline constexpr int kWarpgroupRows = 64;  // wgmma's
inline constexpr int kSharedBytesPerBlock = 227 * 1024;
inline constexpr int kRegistersPerSm = 65536;

// Whether the warpgroups issue their products in turn, so that one's softmax meets another's products.
enum class Turns : bool { kFree, kOrdered };

// Whether what the next products need is looked up during the softmax, or when they are issued. The first takes a few
// instructions more and shortens the way from one product to the next.
enum class LookUp : bool { kWhenIssued, kAhead };

// The widest panels that the dimension fills: fewer, larger copies, and no bank conflicts at any width.
constexpr ptx::Swizzle swizzle_of(int dim) {
  return dim % 64 == 0 ? ptx::Swizzle::k128 : dim % 32 == 0 ? ptx::Swizzle::k64 : ptx::Swizzle::k32;
}

template <int kHeadDim_, int kValueDim_, int kWarpgroups_, int kKeys_, int kStages_, int kQueryStages_, Turns kTurns_,
          LookUp kLookUp_, ScoreMode kMode_ = ScoreMode::kPlain>
struct Tile {
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kValueDim = kValueDim_;
  static constexpr int kWarpgroups = kWarpgroups_;  // that compute; one more loads
  static constexpr int kKeys = kKeys_;
  static constexpr int kStages = kStages_;            // tiles of K and of V in shared memory
  static constexpr int kQueryStages = kQueryStages_;  // with 2, the next queries are there before the last are done
  static constexpr bool kTurns = kTurns_ == Turns::kOrdered && kWarpgroups_ > 1;
  static constexpr bool kOverlaps = true;  // the next tile's QK beside this one's softmax and PV
  static constexpr bool kLooksAhead = kLookUp_ == LookUp::kAhead;
  static constexpr ScoreMode kMode = kMode_;

  static constexpr int kRows = kWarpgroups * kWarpgroupRows;
  static constexpr int kThreads = (kWarpgroups + 1) * kWarpgroupThreads;

  static constexpr int kHeadColumns = kHeadDim;  // of what the copy engine brings
  static constexpr int kValueColumns = kValueDim;

  static constexpr ptx::Swizzle kHeadSwizzle = swizzle_of(kHeadDim);
  static constexpr ptx::Swizzle kValueSwizzle = swizzle_of(kValueDim);

  static constexpr int kQueryBytes = kRows * kHeadDim * 2;
  static constexpr int kKeyBytes = kKeys * kHeadDim * 2;
  static constexpr int kValueBytes = kKeys * kValueDim * 2;
  // One stage of the bias: a number for each key, or a tile for the queries and keys. Its panels hold 128 bytes of a
  // row, 64 elements in 16 bits or 128 booleans.
  static constexpr ptx::Swizzle kBiasSwizzle = ptx::Swizzle::k128;
  static constexpr int kBiasBytes = kMode == ScoreMode::kKeyBias ? kKeys * 4
                                    : kMode == ScoreMode::kBias  ? kRows * kKeys * 2
                                                                 : 0;
  static_assert(kMode != ScoreMode::kBias || kKeys == 128, "the bias comes in whole panels of either kind");

  // setmaxnreg moves registers within what the block was launched with: a multiple of 8 for every thread.
  static constexpr int kLaunchRegisters = kRegistersPerSm / kThreads / 8 * 8;
  static constexpr int kLoaderRegisters = kWarpgroups == 3 ? 32 : 40;
  static constexpr int kComputeRegisters = kWarpgroups == 3 ? 160 : 232;
  static_assert(kWarpgroups >= 1 && kWarpgroups <= 3, "four would leave 96 registers a thread");
  static_assert(kLoaderRegisters + kWarpgroups * kComputeRegisters <= (kWarpgroups + 1) * kLaunchRegisters,
                "a warpgroup would wait for registers for ever");

  // Scores of a tile, its weights in 16 bits, the output; some 40 for addresses, bounds and the softmax's state.
  static constexpr int kAccumulators = kKeys / 2 + kKeys / 4 + kValueDim / 2;
  static_assert(kAccumulators + 30 <= kComputeRegisters, "the tile does not fit in the registers");
  static_assert(kHeadDim % 16 == 0 && kValueDim % 16 == 0 && kKeys % 16 == 0, "wgmma takes 16 terms at a time");
  static_assert(kRows <= 256 && kKeys <= 256, "the copy engine's boxes have at most 256 rows");
};

}  // namespace flashconvert::kernels::sm90
