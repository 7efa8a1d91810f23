// A computing warpgroup: 64 rows of the left operand against a tile of right rows.
//
//   split | three products of chunk 0 | add up | split | three products of chunk 1 | ...
//           fetch chunk 1, its scales                    fetch chunk 2, its scales
//
// Tensor cores round what they add toward zero, which over a long sum is a bias far above float32's own error. So they
// sum up one chunk, in fresh accumulators, and ordinary instructions add that, with the scale that the chunk's rows
// had, to sums in float32. What stands alone here, one warpgroup does beside the products of another.
#pragma once

#include "../../device/thread.cuh"
#include "../../ptx/dependent_launch.cuh"
#include "../../ptx/shared_load.cuh"
#include "epilogue.cuh"
#include "product.cuh"
#include "repair.cuh"
#include "schedule.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90::linear {

template <class Tile>
class Consumer {
  using Plan = SharedMemoryPlan<Tile>;
  static constexpr bool kSharesChunks = Tile::kShare == Share::kChunks;
  static constexpr int kStep = kSharesChunks ? Tile::kWarpgroups : 1;  // from one of its chunks to the next
  static constexpr std::uint64_t kLayout = ptx::k_major_layout(ptx::Swizzle::k128);

public:
  __device__ __forceinline__ Consumer(const Parameters& p, char* shared_memory, int group)
      : p_(p),
        memory_(shared_memory),
        shared_(ptx::shared_address(shared_memory)),
        group_(group),
        left_(recomputed(static_cast<int>(LeftChunk::lane_offset(first_row(), lane_index())))) {}

  __device__ __forceinline__ void run() {
    for (; tile().exists(); ++tiles_) {
      RowState rows = {{0}, own_losses()};
      rows.reset();
      Sums<Tile> sums;
#pragma unroll 1
      for (int part = 0; part < p_.parts; ++part) {
        const int end = part + 1 < p_.parts ? (part + 1) * p_.part_chunks : p_.chunks;
#pragma unroll
        for (float& sum : sums) sum = 0.F;
        walk_chunks(part * p_.part_chunks, end, sums, rows);
        if constexpr (kSharesChunks) gather_parts(sums, rows);
        if (part > 0 && stores()) add_stored_sums<Tile>(p_, sums, place_of(tile().place()));
        if (part + 1 < p_.parts && stores()) store_sums<Tile>(p_, sums, place_of(tile().place()));
      }
      if (stores()) end_tile(tile().place(), sums, rows);
    }
  }

private:
  __device__ __forceinline__ ClusterTile<Tile> tile() const { return ClusterTile<Tile>(p_, tiles_); }

  // Of this warp, in the block's tile.
  __device__ __forceinline__ int first_row() const {
    const int warp = kSharesChunks ? warp_index() % 4 : warp_index() - 4;  // the loading warpgroup comes first
    return warp * 16;
  }

  // Where several warpgroups have the same rows, the first one stores them.
  __device__ __forceinline__ bool stores() const { return !kSharesChunks || group_ == 0; }

  __device__ __forceinline__ ResultPlace place_of(const TilePlace& at) const {
    return result_place(at.left_row + first_row(), at.right_row);
  }

  // Adds up the chunks [begin, end) of the tile, or this warpgroup's share of them.
  __device__ __forceinline__ void walk_chunks(int begin, int end, Sums<Tile>& sums, RowState& rows) {
    LeftChunk next;
    begin += kSharesChunks ? group_ : 0;
    int left = end - begin;
    std::uint32_t count = tiles_ * static_cast<std::uint32_t>(p_.chunks) + static_cast<std::uint32_t>(begin);
    if (left <= 0) return;
    fetch(count, next, rows);
#pragma unroll 1
    while (true) {
      LeftHalves halves;
      next.split(halves);
      const ExponentPair scale = next.scale;
      Sums<Tile> accumulators;
      issue(count, accumulators, halves);
      left -= kStep;
      if (left > 0) fetch(count + kStep, next, rows);
      ptx::warpgroup_wait<0>();
      ptx::pin_registers(accumulators);
      halves.pin();
      release_right(Place<Tile::kRightStages>{count});
      const float factor[2] = {kernels::linear::power_of(scale[0]), kernels::linear::power_of(scale[1])};
#pragma unroll
      for (int i = 0; i < Tile::kColumns / 2; ++i) sums[i] = fmaf(accumulators[i], factor[i / 2 % 2], sums[i]);
      if (left <= 0) break;
      count += kStep;
    }
  }

  // The next chunk of the left operand, and its rows' scales.
  __device__ __forceinline__ void fetch(std::uint32_t count, LeftChunk& chunk, RowState& rows) const {
    const Place<Tile::kLeftStages> place = {count};
    ptx::barrier_wait(shared_ + Plan::kLeftFull + 8 * place.stage(), place.parity());
    chunk.load(shared_ + Plan::kLeft + place.stage() * Tile::kLeftBytes + static_cast<std::uint32_t>(left_));
    chunk.scale_rows(rows);
    // The lanes have shown each other what they loaded.
    __syncwarp();
    if (lane_index() == 0) ptx::barrier_arrive(shared_ + Plan::kLeftEmpty + 8 * place.stage());
  }

  __device__ __forceinline__ void issue(std::uint32_t count, Sums<Tile>& accumulators, const LeftHalves& halves) const {
    const Place<Tile::kRightStages> place = {count};
    // The same for the whole warp, and said so: the compiler then steps descriptors in uniform registers.
    const std::uint32_t right = __shfl_sync(
        0xffffffffU, ptx::descriptor_low(kLayout, shared_ + Plan::kRight + place.stage() * Tile::kRightBytes), 0);
    ptx::barrier_wait(shared_ + Plan::kRightFull + 8 * place.stage(), place.parity());
    ptx::warpgroup_fence();
    issue_products<Tile>(accumulators, halves, ptx::descriptor_from(kLayout, right));
    ptx::warpgroup_commit();
  }

  // The warp's reads are done when its wait for the products returned.
  __device__ __forceinline__ void release_right(const Place<Tile::kRightStages>& place) const {
    const std::uint32_t barrier = shared_ + Plan::kRightEmpty + 8 * place.stage();
    if constexpr (Tile::kCluster == 1) {
      if (lane_index() == 0) ptx::barrier_arrive(barrier);
    } else {
      if (lane_index() < Tile::kCluster) ptx::barrier_arrive_in_block(barrier, lane_index());
    }
  }

  // Of this thread, and of its like in another warpgroup.
  __device__ __forceinline__ float2* own_losses() const {
    return reinterpret_cast<float2*>(memory_ + Plan::kLosses) + (thread_index() - kWarpgroupThreads);
  }
  __device__ __forceinline__ float2* losses_of(int group) const {
    return reinterpret_cast<float2*>(memory_ + Plan::kLosses) + group * kWarpgroupThreads +
           thread_index() % kWarpgroupThreads;
  }

  // The first warpgroup adds the others' sums to its own, in their order; the others only hand theirs over.
  __device__ __forceinline__ void gather_parts(Sums<Tile>& sums, RowState& rows) const {
    constexpr int kThreads = Tile::kWarpgroups * kWarpgroupThreads;
    constexpr int kCount = Tile::kColumns / 2;
    const int thread = thread_index() % kWarpgroupThreads;
    const auto part = [&](int group, int index) -> float& {
      return reinterpret_cast<float*>(
          memory_ + Plan::kParts)[((group - 1) * Plan::kPartFloats + index) * kWarpgroupThreads + thread];
    };
    if (group_ > 0) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) part(group_, i) = sums[i];
      part(group_, kCount) = __uint_as_float(rows.scale.packed);
      ptx::named_barrier_sync(kPartsFullBarrier, kThreads);
      ptx::named_barrier_sync(kPartsEmptyBarrier, kThreads);
      rows.reset();
      return;
    }
    ptx::named_barrier_sync(kPartsFullBarrier, kThreads);
#pragma unroll 1
    for (int group = 1; group < Tile::kWarpgroups; ++group) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) sums[i] += part(group, i);
      rows.scale.packed = __vmaxu2(rows.scale.packed, __float_as_uint(part(group, kCount)));
      const float2 other = *losses_of(group);
      *rows.loss = {rows.loss->x + other.x, rows.loss->y + other.y};
    }
    ptx::named_barrier_sync(kPartsEmptyBarrier, kThreads);
  }

  __device__ __forceinline__ void end_tile(const TilePlace& tile, const Sums<Tile>& sums, const RowState& rows) {
    const ResultPlace at = place_of(tile);
    const Place<Plan::kColumnStages> place = {tiles_};
    ptx::barrier_wait(shared_ + Plan::kScalesFull + 8 * place.stage(), place.parity());
    const std::uint32_t scales = shared_ + Plan::kScales + place.stage() * Plan::kScaleBytes;
    const std::uint32_t columns = scales + lane_index() % 4 * 16;
    const float worst_column = __uint_as_float(ptx::load_shared<std::uint32_t>(scales + Tile::kColumns * 8));
    const bool is_whole =
        tile.left_row + Tile::kRows <= p_.left_rows && tile.right_row + Tile::kColumns <= p_.right_rows;
    kernels::linear::with_constant(p_.activation, [&](auto activation) {
      if (is_whole && p_.stores_pairs) {
        store_pairs<Tile, activation()>(p_, sums, at, columns);
      } else {
        store_singly<Tile, activation()>(p_, sums, at, columns);
      }
    });
    ptx::barrier_arrive(shared_ + Plan::kScalesEmpty + 8 * place.stage());
    RowLimits limits = {{rows.largest(0), rows.largest(1)}, {rows.loss->x, rows.loss->y}};
#pragma unroll
    for (int r = 0; r < 2; ++r) {  // each of the four lanes has counted its own elements
      limits.loss[r] += __shfl_xor_sync(0xffffffffU, limits.loss[r], 1);
      limits.loss[r] += __shfl_xor_sync(0xffffffffU, limits.loss[r], 2);
    }
    if (may_need_repair<Tile>(sums, limits, worst_column)) {
      ptx::wait_for_previous_kernel();  // the columns' losses are read from memory
      repair<Tile>(p_, sums, limits, at);
    }
  }

  const Parameters& p_;
  char* memory_;
  std::uint32_t shared_;
  int group_;
  int left_;                 // where this lane's elements lie in a chunk of the left operand
  std::uint32_t tiles_ = 0;  // done
};

}  // namespace flashconvert::kernels::sm90::linear
