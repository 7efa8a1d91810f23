// The loading warpgroup: one thread keeps the copy engine busy, as far ahead as the rings allow.
#pragma once

#include "../../ptx/dependent_launch.cuh"
#include "../../ptx/tensor_copy.cuh"
#include "schedule.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90::linear {

template <class Tile>
class Loader {
  using Plan = SharedMemoryPlan<Tile>;

public:
  __device__ __forceinline__ Loader(const Parameters& p, char* shared_memory)
      : p_(p), shared_(ptx::shared_address(shared_memory)) {}

  __device__ __forceinline__ void run() {
    bool waited = false;  // for the kernel that splits the right operand
    for (TileWalk<Tile> walk(p_); walk.has_tile(); walk.advance()) {
      const TilePlace at = walk.place();
#pragma unroll 1
      for (int chunk = 0; chunk < p_.chunks; ++chunk) {
        load_left(at.left_row, chunk);
        if (!waited) ptx::wait_for_previous_kernel();
        waited = true;
        load_right(at.right_row, chunk);
        ++count_;
      }
    }
  }

private:
  __device__ __forceinline__ void load_left(int row, int chunk) {
    const Place<Tile::kLeftStages> place = {count_};
    const std::uint32_t full = shared_ + Plan::kLeftFull + 8 * place.stage();
    ptx::barrier_wait(shared_ + Plan::kLeftEmpty + 8 * place.stage(), place.parity() ^ 1);
    ptx::barrier_arrive_expect(full, Tile::kLeftBytes);
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
      const int offset = place.stage() * Tile::kLeftBytes + panel * Tile::kRows * kPanelBytes;
      ptx::copy_box(shared_ + Plan::kLeft + offset, p_.left, full, chunk * kChunk + panel * kPanel, row, 0, 0,
                    ptx::CachePolicy::kNormal);
    }
  }

  __device__ __forceinline__ void load_right(int row, int chunk) {
    constexpr int kOwnRows = Tile::kColumns / Tile::kCluster;
    const Place<Tile::kRightStages> place = {count_};
    const std::uint32_t full = shared_ + Plan::kRightFull + 8 * place.stage();
    ptx::barrier_wait(shared_ + Plan::kRightEmpty + 8 * place.stage(), place.parity() ^ 1);
    ptx::barrier_arrive_expect(full, Tile::kRightBytes);
    const int rank = Tile::kCluster == 1 ? 0 : ptx::block_rank_in_cluster();
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel) {
      const std::uint32_t to = shared_ + Plan::kRight + place.stage() * Tile::kRightBytes +
                               (panel * Tile::kColumns + rank * kOwnRows) * kPanelBytes;
      const int column = (chunk * kPanels + panel) * 2 * kPanel;
      if constexpr (Tile::kCluster == 1) {
        ptx::copy_box(to, p_.right, full, column, row, 0, 0, ptx::CachePolicy::kEvictLast);
      } else {
        ptx::copy_box_to_blocks(to, p_.right, full, column, row + rank * kOwnRows, (1 << Tile::kCluster) - 1,
                                ptx::CachePolicy::kEvictLast);
      }
    }
  }

  const Parameters& p_;
  std::uint32_t shared_;
  std::uint32_t count_ = 0;  // chunks sent for
};

}  // namespace flashconvert::kernels::sm90::linear
