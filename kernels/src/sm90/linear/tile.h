// The shape of one Hopper kernel for linear layers: its template parameters and what follows from them. Host code too.
//
// The product is left * right^T, both stored row by row. The left operand stays in float32 and is split into halves in
// registers; the right one was split before (../../linear/split_rows.cuh). Which of input and weight is which, the host
// decides: right is the smaller one, so that what is written to memory and read again is little.
#pragma once

#include "../../ptx/matrix_descriptor.h"
#include "../tile.h"

namespace flashconvert::kernels::sm90::linear {

// Terms that the tensor cores sum up before ordinary instructions take over (docs/kernels/fp32.md). They are 128 bytes
// of a row: 32 floats on the left, 32 high and 32 low halves on the right.
inline constexpr int kChunk = 32;
inline constexpr int kChunkBytes = 128;

// What the warpgroups of a block share out: rows of the left operand, or the chunks of the sums.
enum class Share : int { kRows, kChunks };

template <int kColumns_, int kWarpgroups_, Share kShare_, int kCluster_, int kLeftStages_, int kRightStages_>
struct Tile {
  static constexpr int kColumns = kColumns_;        // rows of the right operand
  static constexpr int kWarpgroups = kWarpgroups_;  // that compute; one more loads
  static constexpr Share kShare = kShare_;
  static constexpr int kCluster = kCluster_;  // blocks one below the other, which load the right operand together
  static constexpr int kLeftStages = kLeftStages_;
  static constexpr int kRightStages = kRightStages_;

  static constexpr int kRows = kShare == Share::kRows ? kWarpgroups * kWarpgroupRows : kWarpgroupRows;
  static constexpr int kThreads = (kWarpgroups + 1) * kWarpgroupThreads;
  static constexpr int kLeftBytes = kRows * kChunkBytes;
  static constexpr int kRightBytes = kColumns * kChunkBytes;

  static constexpr int kLaunchRegisters = kRegistersPerSm / kThreads / 8 * 8;
  static constexpr int kLoaderRegisters = kWarpgroups == 3 ? 32 : 24;
  static constexpr int kComputeRegisters = kWarpgroups == 3 ? 160 : kWarpgroups == 4 ? 112 : 240;
  static_assert(kLoaderRegisters + kWarpgroups * kComputeRegisters <= (kWarpgroups + 1) * kLaunchRegisters,
                "a warpgroup would wait for registers for ever");
  // Accumulators, sums, and the left operand twice: the halves at work, and the next numbers.
  static_assert(kColumns + kChunk + 16 <= kComputeRegisters, "the tile does not fit in the registers");
  static_assert(kColumns % 16 == 0 && kColumns <= 256 && kRows <= 256);
  static_assert(kCluster == 1 || kColumns / kCluster % 8 == 0, "a block's part is a number of swizzle units");
};

}  // namespace flashconvert::kernels::sm90::linear
