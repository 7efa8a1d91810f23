// The Hopper kernel for linear layers: persistent blocks of one loading and two or three computing warpgroups.
//
//   loader   (loader.cuh)     left, right, left, right ...   the copy engine, as far ahead as the rings allow
//   consumer (consumer.cuh)   split | three products | add up | split | ...
//
// shared_memory.cuh says where everything lies and who waits for whom.
#pragma once

#include "consumer.cuh"
#include "loader.cuh"

namespace flashconvert::kernels::sm90::linear {

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1) linear_kernel(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) char shared_memory[];
  if (threadIdx.x == 0) {
    ptx::prefetch_tensor_map(p.left);
    ptx::prefetch_tensor_map(p.right);
    SharedMemoryPlan<Tile>::init_barriers(ptx::shared_address(shared_memory));
  }
  if constexpr (Tile::kCluster == 1) {
    __syncthreads();
  } else {
    ptx::cluster_sync();
  }

  // The same for a whole warpgroup, and said so: setmaxnreg counts only where each role is one branch.
  const int warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  if (warpgroup == 0) {
    ptx::release_registers<Tile::kLoaderRegisters>();
    if (threadIdx.x == 0) Loader<Tile>(p, shared_memory).run();
    if (threadIdx.x / kWarpThreads == 1) ScaleLoader<Tile>(p, shared_memory).run();
  } else {
    ptx::claim_registers<Tile::kComputeRegisters>();
    Consumer<Tile>(p, shared_memory, warpgroup - 1).run();
  }
  // No block ends while another one may still write to its shared memory, or arrive at its barriers.
  if constexpr (Tile::kCluster > 1) ptx::cluster_sync();
}

}  // namespace flashconvert::kernels::sm90::linear
