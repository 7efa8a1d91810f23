// The loading warpgroup: one thread keeps the copy engine busy, as far ahead as the rings allow.
#pragma once

#include "../../ptx/dependent_launch.cuh"
#include "../../ptx/math.cuh"
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
    for (std::uint32_t turn = 0; ClusterTile<Tile>(p_, turn).exists(); ++turn) {
      const TilePlace at = ClusterTile<Tile>(p_, turn).place();
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
    ptx::copy_box(shared_ + Plan::kLeft + place.stage() * Tile::kLeftBytes, p_.left, full, chunk * kChunk, row, 0, 0,
                  ptx::CachePolicy::kNormal);
  }

  __device__ __forceinline__ void load_right(int row, int chunk) {
    constexpr int kOwnRows = Tile::kColumns / Tile::kCluster;
    const Place<Tile::kRightStages> place = {count_};
    const std::uint32_t full = shared_ + Plan::kRightFull + 8 * place.stage();
    ptx::barrier_wait(shared_ + Plan::kRightEmpty + 8 * place.stage(), place.parity() ^ 1);
    ptx::barrier_arrive_expect(full, Tile::kRightBytes);
    const int rank = Tile::kCluster == 1 ? 0 : ptx::block_rank_in_cluster();
    const std::uint32_t to = shared_ + Plan::kRight + place.stage() * Tile::kRightBytes + rank * kOwnRows * kChunkBytes;
    const int column = chunk * 2 * kChunk;
    if constexpr (Tile::kCluster == 1) {
      ptx::copy_box(to, p_.right, full, column, row, 0, 0, ptx::CachePolicy::kEvictLast);
    } else {
      ptx::copy_box_to_blocks(to, p_.right, full, column, row + rank * kOwnRows, (1 << Tile::kCluster) - 1,
                              ptx::CachePolicy::kEvictLast);
    }
  }

  const Parameters& p_;
  std::uint32_t shared_;
  std::uint32_t count_ = 0;  // chunks sent for
};

// A second warp of the loading warpgroup: what the end of a tile needs for each right row, so that it does not wait for
// memory there.
template <class Tile>
class ScaleLoader {
  using Plan = SharedMemoryPlan<Tile>;

public:
  __device__ __forceinline__ ScaleLoader(const Parameters& p, char* shared_memory)
      : p_(p), memory_(shared_memory), shared_(ptx::shared_address(shared_memory)) {}

  __device__ __forceinline__ void run() {
    ptx::wait_for_previous_kernel();
    for (std::uint32_t turn = 0; ClusterTile<Tile>(p_, turn).exists(); ++turn) {
      const Place<Plan::kColumnStages> place = {turn};
      ptx::barrier_wait(shared_ + Plan::kScalesEmpty + 8 * place.stage(), place.parity() ^ 1);
      char* const to = memory_ + Plan::kScales + place.stage() * Plan::kScaleBytes;
      load(ClusterTile<Tile>(p_, turn).place().right_row, reinterpret_cast<float2*>(to),
           reinterpret_cast<float*>(to + Tile::kColumns * 8));
      ptx::barrier_arrive(shared_ + Plan::kScalesFull + 8 * place.stage());
    }
  }

private:
  __device__ __forceinline__ void load(int first, float2* columns, float* loss) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
    float worst = 0.F;
#pragma unroll 1
    for (int column = lane; column < Tile::kColumns; column += kWarpThreads) {
      const int right = first + column;
      const bool is_there = right < p_.right_rows;
      const float2 scale = is_there ? *reinterpret_cast<const float2*>(p_.right_scales + right) : float2{0.F, 0.F};
      const float bias = is_there && p_.right_bias != nullptr ? p_.right_bias[right] : 0.F;
      columns[column] = {scale.x, bias};
      worst = ptx::max_or_nan(worst, scale.y);
    }
#pragma unroll
    for (int distance = kWarpThreads / 2; distance > 0; distance /= 2) {
      worst = ptx::max_or_nan(worst, __shfl_xor_sync(0xffffffffU, worst, distance));
    }
    if (lane == 0) *loss = worst;
  }

  const Parameters& p_;
  char* memory_;
  std::uint32_t shared_;
};

}  // namespace flashconvert::kernels::sm90::linear
