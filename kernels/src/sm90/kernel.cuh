// The Hopper kernel: persistent blocks of one loading and two or three computing warpgroups, after FlashAttention-3.
//
//   loader   (loader.cuh)     K  Q  K  V  K  V ...       the copy engine, as far ahead as the rings of buffers allow
//   consumer (consumer.cuh)   QK | QK PV | QK PV | ... | PV     the tensor cores, and beside them
//                                 softmax  softmax   ...        the softmax of the tile whose QK came last
//
// shared_memory.cuh says where everything lies and who waits for whom.
#pragma once

#include "bias.cuh"
#include "consumer.cuh"
#include "loader.cuh"

namespace flashconvert::kernels::sm90 {

template <class Element, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1) attention_kernel(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) char shared_memory[];
  if (threadIdx.x == 0) {
    ptx::prefetch_tensor_map(p.query);
    ptx::prefetch_tensor_map(p.key);
    ptx::prefetch_tensor_map(p.value);
    if constexpr (Tile::kMode == ScoreMode::kBias) ptx::prefetch_tensor_map(p.bias);
    SharedMemoryPlan<Tile>::init_barriers(ptx::shared_address(shared_memory));
  }
  __syncthreads();

  // The same for a whole warpgroup, and said so: setmaxnreg counts only where each role is one branch.
  const int warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  if (warpgroup == 0) {
    ptx::release_registers<Tile::kLoaderRegisters>();
    if (threadIdx.x == 0) Loader<Tile>(p, shared_memory).run();
    if constexpr (Tile::kMode == ScoreMode::kKeyBias) {
      if (threadIdx.x / 32 == 1) KeyBiasLoader<Element, Tile>(p.common, shared_memory).run();
    }
  } else {
    ptx::claim_registers<Tile::kComputeRegisters>();
    Consumer<Element, Tile>(p.common, shared_memory, warpgroup - 1).run();
  }
}

}  // namespace flashconvert::kernels::sm90
