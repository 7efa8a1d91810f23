// Which tiles of queries a block works on. Blocks are persistent, one for each multiprocessor. The loading thread draws
// the numbers and leaves what follows from them (Assignment) in a mailbox for the computing warpgroups.
//
// Block b starts with tile b. Where all tiles cost the same, the next one is a grid further on. Where they do not (a
// causal mask), tiles come longest first (KernelParameters), and whoever is done draws the next number from a counter
// in the workspace: dealt out in advance, a block would now and then get two long ones. Which block computes a tile
// changes no bit of it.
#pragma once

#include "../device/schedule.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90 {

// A tile of queries and the tiles of keys that it sees, if any. The last assignment is no tile: batch is -1.
struct alignas(16) Assignment {
  Work work;
  KeyTiles tiles;

  __device__ __forceinline__ bool is_last() const { return work.batch < 0; }
  __device__ __forceinline__ bool is_empty() const { return tiles.first == tiles.end; }
};
static_assert(sizeof(Assignment) == kAssignmentBytes, "the shared memory plan reserves another size");

class TileQueue {
public:
  // `counter`: zero before the launch, or null where every tile costs the same.
  __device__ __forceinline__ TileQueue(const KernelParameters& p, int* counter)
      : counter_(counter), tiles_(p.total_heads * p.query_tiles), drawn_(static_cast<int>(blockIdx.x)) {}

  // The number drawn last, or -1 where there are no more tiles. The first is drawn already.
  __device__ __forceinline__ int take() const { return drawn_ < tiles_ ? drawn_ : -1; }

  // Sends for the next number; `take` waits for it. The later, the better the work is shared out.
  __device__ __forceinline__ void draw() {
    const int blocks = static_cast<int>(gridDim.x);
    drawn_ = counter_ == nullptr ? drawn_ + blocks : blocks + atomicAdd(counter_, 1);
  }

private:
  int* counter_;
  int tiles_;
  int drawn_;
};

template <class Tile>
__device__ __forceinline__ Assignment make_assignment(const KernelParameters& p, int index) {
  if (index < 0) return {{-1, 0, 0, 0}, {0, 0, 0, 0}};
  const Work work = decode_block(p, index, Tile::kRows);
  return {work, visible_key_tiles<Rows::kQueries>(p, work.first_row, Tile::kRows, Tile::kKeys)};
}

// One end of the mailbox, a ring of kMailboxStages assignments in shared memory.
template <class Tile>
class Mailbox {
  using Plan = SharedMemoryPlan<Tile>;

public:
  __device__ __forceinline__ explicit Mailbox(char* shared_memory)
      : entries_(reinterpret_cast<Assignment*>(shared_memory + Plan::kMailbox)),
        shared_(ptx::shared_address(shared_memory)) {}

  // The loading thread's. It too reads the assignment where it lies; nobody but itself will write there again.
  __device__ __forceinline__ const Assignment& send(const Assignment& assignment) {
    ptx::barrier_wait(shared_ + Plan::kMailboxEmpty + 8 * ring_.stage(), ring_.parity() ^ 1);
    entries_[ring_.stage()] = assignment;
    ptx::barrier_arrive(shared_ + Plan::kMailboxFull + 8 * ring_.stage());
    const Assignment& sent = entries_[ring_.stage()];
    ring_.advance();
    return sent;
  }

  // Every computing thread's: the place of the next assignment. It is read there when it is needed (in registers it
  // would be spilled), until the warp releases it.
  __device__ __forceinline__ int receive() {
    const int place = ring_.stage();
    ptx::barrier_wait(shared_ + Plan::kMailboxFull + 8 * place, ring_.parity());
    ring_.advance();
    return place;
  }
  __device__ __forceinline__ const Assignment& at(int place) const { return entries_[place]; }
  __device__ __forceinline__ void release(int place) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::barrier_arrive(shared_ + Plan::kMailboxEmpty + 8 * place);
  }

private:
  Assignment* entries_;
  std::uint32_t shared_;
  RingPosition<kMailboxStages> ring_;
};

}  // namespace flashconvert::kernels::sm90
