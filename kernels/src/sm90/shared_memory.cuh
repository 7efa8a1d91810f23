// What lies where in a block's shared memory, and the barriers by which its warpgroups meet: the kernel's table of
// contents.
#pragma once

#include "../ptx/async_copy.cuh"
#include "../ptx/barrier.cuh"
#include "tile.h"

namespace flashconvert::kernels::sm90 {

// A place in a ring of buffers, by the number of buffers filled (or emptied) so far: one register.
template <int kStages>
class RingPosition {
  static_assert((kStages & (kStages - 1)) == 0, "stage and parity are bits of the count");

public:
  __device__ __forceinline__ explicit RingPosition(std::uint32_t count = 0) : count_(count) {}

  __device__ __forceinline__ int stage() const { return static_cast<int>(count_ % kStages); }
  // Of the "full" barrier's phase in which this buffer is filled; that of the "empty" barrier is the other one.
  __device__ __forceinline__ std::uint32_t parity() const { return count_ / kStages % 2; }
  __device__ __forceinline__ void advance() { ++count_; }
  __device__ __forceinline__ RingPosition before(int places) const { return RingPosition(count_ - places); }

private:
  std::uint32_t count_;
};

inline constexpr int kMailboxStages = 4;  // at hand, the next, and a power of two
inline constexpr int kAssignmentBytes = 32;

template <class Tile>
struct SharedMemoryPlan {
  static constexpr int kStages = Tile::kStages;
  static constexpr int kQueryStages = Tile::kQueryStages;

  // Tiles, each a row of swizzled panels; a panel starts at a multiple of 1024 bytes.
  static constexpr int kQuery = 0;
  static constexpr int kKeys = kQuery + kQueryStages * Tile::kQueryBytes;
  static constexpr int kValues = kKeys + kStages * Tile::kKeyBytes;

  static constexpr int kBias = kValues + kStages * Tile::kValueBytes;
  static constexpr int kMailbox = kBias + kStages * Tile::kBiasBytes;

  // Barriers of eight bytes. "full": what was asked for has come; "empty": every warp has read it.
  static constexpr int kQueryFull = kMailbox + kMailboxStages * kAssignmentBytes;
  static constexpr int kQueryEmpty = kQueryFull + 8 * kQueryStages;
  static constexpr int kKeyFull = kQueryEmpty + 8 * kQueryStages;
  static constexpr int kKeyEmpty = kKeyFull + 8 * kStages;
  static constexpr int kValueFull = kKeyEmpty + 8 * kStages;
  static constexpr int kValueEmpty = kValueFull + 8 * kStages;
  static constexpr int kBiasStages = has_bias_buffer(Tile::kMode) ? kStages : 0;
  static constexpr int kBiasFull = kValueEmpty + 8 * kStages;
  static constexpr int kBiasEmpty = kBiasFull + 8 * kBiasStages;
  static constexpr int kMailboxFull = kBiasEmpty + 8 * kBiasStages;
  static constexpr int kMailboxEmpty = kMailboxFull + 8 * kMailboxStages;
  static constexpr int kBytes = kMailboxEmpty + 8 * kMailboxStages;

  static_assert(kBytes <= kSharedBytesPerBlock, "the tiles do not fit in shared memory");
  static_assert(Tile::kQueryBytes % 1024 == 0 && Tile::kKeyBytes % 1024 == 0 && Tile::kValueBytes % 1024 == 0,
                "swizzled panels have to start at multiples of 1024 bytes");

  // Readers tell by one lane of each warp. The warp that loads the bias of the keys reads the mailbox too. A bias is
  // read (and that of the keys written) by ordinary instructions of every lane, so every lane tells: where one does for
  // all, only __syncwarp orders the others before it, which is no instruction where ptxas knows that the warp has not
  // parted, and compute-sanitizer finds a race.
  static constexpr int kReaders = Tile::kWarpgroups * 4;
  static constexpr int kMailboxReaders = kReaders + (Tile::kMode == ScoreMode::kKeyBias ? 1 : 0);

  static __device__ __forceinline__ void init_barriers(std::uint32_t shared) {
    const auto init_ring = [&](int full, int empty, int stages, int readers, int writers = 1) {
      for (int stage = 0; stage < stages; ++stage) {
        ptx::barrier_init(shared + full + 8 * stage, writers);
        ptx::barrier_init(shared + empty + 8 * stage, readers);
      }
    };
    init_ring(kQueryFull, kQueryEmpty, kQueryStages, kReaders);
    init_ring(kKeyFull, kKeyEmpty, kStages, kReaders);
    init_ring(kValueFull, kValueEmpty, kStages, kReaders);
    init_ring(kBiasFull, kBiasEmpty, kBiasStages, kWarpThreads * kReaders,
              Tile::kMode == ScoreMode::kKeyBias ? kWarpThreads : 1);
    init_ring(kMailboxFull, kMailboxEmpty, kMailboxStages, kMailboxReaders);
    ptx::fence_barrier_init();
  }
};

// Named barriers: a computing warpgroup waits on its own for the one before it to have issued its products.
inline constexpr int kFirstTurnBarrier = 1;

}  // namespace flashconvert::kernels::sm90
