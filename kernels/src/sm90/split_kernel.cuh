// The Hopper kernel for float32 operands in halves: roles, loader and scheduler as in kernel.cuh.
#pragma once

#include "bias.cuh"
#include "loader.cuh"
#include "split_consumer.cuh"

namespace flashconvert::kernels::sm90 {

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1) split_attention_kernel(const __grid_constant__ SplitParameters p) {
  extern __shared__ __align__(1024) char shared_memory[];
  if (!halves_hold(*p.facts)) return;  // the kernel for TF32 does not
  if (threadIdx.x == 0) {
    ptx::prefetch_tensor_map(p.query);
    ptx::prefetch_tensor_map(p.key);
    ptx::prefetch_tensor_map(p.value);
    SharedMemoryPlan<Tile>::init_barriers(ptx::shared_address(shared_memory));
  }
  __syncthreads();

  const int warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  if (warpgroup == 0) {
    ptx::release_registers<Tile::kLoaderRegisters>();
    if (threadIdx.x == 0) Loader<Tile>(p, shared_memory).run();
    if constexpr (Tile::kMode == ScoreMode::kKeyBias) {
      if (threadIdx.x / 32 == 1) KeyBiasLoader<float, Tile>(p.common, shared_memory).run();
    }
  } else {
    ptx::claim_registers<Tile::kComputeRegisters>();
    SplitConsumer<Tile>(p, shared_memory, warpgroup - 1).run();
  }
}

}  // namespace flashconvert::kernels::sm90
