// A computing warpgroup: 64 rows of the left operand against a tile of right rows.
//
// Tensor cores round what they add toward zero, which over a long sum is a bias far above float32's own error. So they
// sum up one chunk, in fresh accumulators, and ordinary instructions add that, with the scale that the chunk's rows
// had, to sums in float32. While one warpgroup splits its rows and adds up, the other's products are under way.
#pragma once

#include "../../device/thread.cuh"
#include "../../ptx/dependent_launch.cuh"
#include "epilogue.cuh"
#include "product.cuh"
#include "repair.cuh"
#include "schedule.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90::linear {

template <class Tile, Activation kActivation>
class Consumer {
  using Plan = SharedMemoryPlan<Tile>;
  static constexpr bool kSharesChunks = Tile::kShare == Share::kChunks;
  static constexpr std::uint64_t kLayout = ptx::k_major_layout(ptx::Swizzle::k128);

public:
  __device__ __forceinline__ Consumer(const Parameters& p, char* shared_memory, int group)
      : p_(p),
        shared_(ptx::shared_address(shared_memory)),
        parts_(reinterpret_cast<float*>(shared_memory + Plan::kParts)),
        group_(group) {}

  __device__ __forceinline__ void run() {
    ptx::wait_for_previous_kernel();  // the scales, which it reads by ordinary instructions
    for (TileWalk<Tile> walk(p_); walk.has_tile(); walk.advance()) {
      Sums<Tile> sums;
      RowState rows = {};
#pragma unroll
      for (float& sum : sums) sum = 0.F;
      const int step = kSharesChunks ? Tile::kWarpgroups : 1;
#pragma unroll 1
      for (int chunk = kSharesChunks ? group_ : 0; chunk < p_.chunks; chunk += step) {
        add_chunk(base_ + static_cast<std::uint32_t>(chunk), sums, rows);
      }
      base_ += static_cast<std::uint32_t>(p_.chunks);
      if constexpr (kSharesChunks) {
        if (!gather_parts(sums, rows)) continue;
      }
      end_tile(walk.place(), sums, rows);
    }
  }

private:
  static __device__ __forceinline__ int lane() { return lane_index(); }
  // Of this warp, in the block's tile.
  __device__ __forceinline__ int first_row() const {
    return (kSharesChunks ? 0 : group_ * kWarpgroupRows) + warp_index() % 4 * 16;
  }

  __device__ __forceinline__ void add_chunk(std::uint32_t count, Sums<Tile>& sums, RowState& rows) {
    const Place<Tile::kLeftStages> left_place = {count};
    const Place<Tile::kRightStages> right_place = {count};
    LeftHalves left;
    float factor[2];
    {
      ptx::barrier_wait(shared_ + Plan::kLeftFull + 8 * left_place.stage(), left_place.parity());
      LeftChunk chunk;
      chunk.template load<Tile::kRows>(
          shared_ + Plan::kLeft + left_place.stage() * Tile::kLeftBytes + first_row() * kPanelBytes, lane());
      ptx::barrier_arrive(shared_ + Plan::kLeftEmpty + 8 * left_place.stage());
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const kernels::linear::Scale scale = chunk.scale_row(r, rows);
        chunk.split(left, r, scale.multiplier);
        factor[r] = scale.factor;
      }
    }
    const std::uint32_t right = __shfl_sync(
        0xffffffffU, ptx::descriptor_low(kLayout, shared_ + Plan::kRight + right_place.stage() * Tile::kRightBytes), 0);
    ptx::barrier_wait(shared_ + Plan::kRightFull + 8 * right_place.stage(), right_place.parity());
    Sums<Tile> accumulators;
    ptx::warpgroup_fence();
    issue_products<Tile>(accumulators, left, ptx::descriptor_from(kLayout, right));
    ptx::warpgroup_commit();
    ptx::warpgroup_wait<0>();
    ptx::pin_registers(accumulators);
    release_right(Plan::kRightEmpty + 8 * right_place.stage());
#pragma unroll
    for (int i = 0; i < Tile::kColumns / 2; ++i) sums[i] = fmaf(accumulators[i], factor[i / 2 % 2], sums[i]);
  }

  // The warp's reads are done when its wait for the products returned.
  __device__ __forceinline__ void release_right(int barrier) const {
    if constexpr (Tile::kCluster == 1) {
      if (lane() == 0) ptx::barrier_arrive(shared_ + barrier);
    } else {
      if (lane() < Tile::kCluster) ptx::barrier_arrive_in_block(shared_ + barrier, lane());
    }
  }

  // The first warpgroup adds the others' sums to its own, in their order; the others only hand theirs over.
  __device__ __forceinline__ bool gather_parts(Sums<Tile>& sums, RowState& rows) const {
    constexpr int kThreads = Tile::kWarpgroups * kWarpgroupThreads;
    constexpr int kCount = Tile::kColumns / 2;
    const int thread = static_cast<int>(threadIdx.x) % kWarpgroupThreads;
    const auto part = [&](int group, int index) -> float& {
      return parts_[((group - 1) * Plan::kPartFloats + index) * kWarpgroupThreads + thread];
    };
    if (group_ > 0) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) part(group_, i) = sums[i];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        part(group_, kCount + r) = rows.loss[r];
        part(group_, kCount + 2 + r) = rows.largest[r];
      }
      ptx::named_barrier_arrive(kPartsFullBarrier, kThreads);
      ptx::named_barrier_sync(kPartsEmptyBarrier, kThreads);
      return false;
    }
    ptx::named_barrier_sync(kPartsFullBarrier, kThreads);
#pragma unroll 1
    for (int group = 1; group < Tile::kWarpgroups; ++group) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) sums[i] += part(group, i);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        rows.loss[r] += part(group, kCount + r);
        rows.largest[r] = fmaxf(rows.largest[r], part(group, kCount + 2 + r));
      }
    }
    ptx::named_barrier_arrive(kPartsEmptyBarrier, kThreads);
    return true;
  }

  __device__ __forceinline__ void end_tile(const TilePlace& at, const Sums<Tile>& sums, RowState& rows) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {  // each of the four lanes has counted its own elements
      rows.loss[r] += __shfl_xor_sync(0xffffffffU, rows.loss[r], 1);
      rows.loss[r] += __shfl_xor_sync(0xffffffffU, rows.loss[r], 2);
    }
    Suspects<Tile> suspects;
    store_results<Tile, kActivation>(p_, sums, rows, at.left_row + first_row(), at.right_row, suspects);
    repair<Tile, kActivation>(p_, suspects, at.left_row + first_row(), at.right_row);
  }

  const Parameters& p_;
  std::uint32_t shared_;
  float* parts_;
  int group_;
  std::uint32_t base_ = 0;  // chunks of the tiles before
};

}  // namespace flashconvert::kernels::sm90::linear
