// What lies where in a block's shared memory: the kernel's table of contents.
#pragma once

#include "../../ptx/async_copy.cuh"
#include "../../ptx/barrier.cuh"
#include "tile.h"

namespace flashconvert::kernels::sm90::linear {

// A place in a ring of buffers, by the number of buffers filled (or emptied) so far. Any number of stages.
template <int kStages>
struct Place {
  std::uint32_t count;

  __device__ __forceinline__ int stage() const { return static_cast<int>(count % kStages); }
  // Of the "full" barrier's phase in which this buffer is filled; that of the "empty" barrier is the other one.
  __device__ __forceinline__ std::uint32_t parity() const { return count / kStages % 2; }
};

template <class Tile>
struct SharedMemoryPlan {
  // Chunks of the operands, swizzled; each starts at a multiple of 1024 bytes.
  static constexpr int kLeft = 0;
  static constexpr int kRight = kLeft + Tile::kLeftStages * Tile::kLeftBytes;

  // Where the warpgroups share out the chunks: the sums of all but the first, and the state of their rows.
  static constexpr int kParts = kRight + Tile::kRightStages * Tile::kRightBytes;
  static constexpr int kPartFloats = Tile::kColumns / 2 + 1;  // a thread's
  static constexpr int kPartBytes = kPartFloats * kWarpgroupThreads * 4;
  static constexpr int kPartCount = Tile::kShare == Share::kChunks ? Tile::kWarpgroups - 1 : 0;

  // What the tile at hand and the next one do with their columns, by the number of the right row, and how much of it
  // was lost when it was split, the worst of all.
  static constexpr int kColumnStages = 2;
  static constexpr int kScales = kParts + kPartCount * kPartBytes;
  static constexpr int kScaleBytes = Tile::kColumns * 8 + 16;

  // What the computing threads' rows have lost.
  static constexpr int kLosses = kScales + kColumnStages * kScaleBytes;
  static constexpr int kLossBytes = Tile::kWarpgroups * kWarpgroupThreads * 8;

  // Barriers of eight bytes. "full": what was asked for has come; "empty": everyone has read it.
  static constexpr int kLeftFull = kLosses + kLossBytes;
  static constexpr int kLeftEmpty = kLeftFull + 8 * Tile::kLeftStages;
  static constexpr int kRightFull = kLeftEmpty + 8 * Tile::kLeftStages;
  static constexpr int kRightEmpty = kRightFull + 8 * Tile::kRightStages;
  static constexpr int kScalesFull = kRightEmpty + 8 * Tile::kRightStages;
  static constexpr int kScalesEmpty = kScalesFull + 8 * kColumnStages;
  static constexpr int kBytes = kScalesEmpty + 8 * kColumnStages;

  static_assert(kBytes <= kSharedBytesPerBlock, "the tiles do not fit in shared memory");
  static_assert(Tile::kLeftBytes % 1024 == 0 && Tile::kRightBytes % 1024 == 0,
                "swizzled tiles have to start at multiples of 1024 bytes");

  // A chunk is read by all warpgroups, or by one. A lane of each warp tells, that of the right operand to all blocks
  // that loaded it together.
  static constexpr int kReadingGroups = Tile::kShare == Share::kRows ? Tile::kWarpgroups : 1;
  static constexpr int kLeftReaders = kReadingGroups * 4;
  static constexpr int kRightReaders = kReadingGroups * 4 * Tile::kCluster;

  static __device__ __forceinline__ void init_barriers(std::uint32_t shared) {
    const auto init_ring = [&](int full, int empty, int stages, int readers, int writers = 1) {
      for (int stage = 0; stage < stages; ++stage) {
        ptx::barrier_init(shared + full + 8 * stage, writers);
        ptx::barrier_init(shared + empty + 8 * stage, readers);
      }
    };
    init_ring(kLeftFull, kLeftEmpty, Tile::kLeftStages, kLeftReaders);
    init_ring(kRightFull, kRightEmpty, Tile::kRightStages, kRightReaders);
    init_ring(kScalesFull, kScalesEmpty, kColumnStages, kReadingGroups * kWarpgroupThreads, kWarpThreads);
    ptx::fence_barrier_init();
  }
};

// Named barriers: the warpgroups' parts of the sums are there; they have been read.
inline constexpr int kPartsFullBarrier = 1;
inline constexpr int kPartsEmptyBarrier = 2;

}  // namespace flashconvert::kernels::sm90::linear
