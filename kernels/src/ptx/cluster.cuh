// Blocks of one cluster, which run at the same time and read each other's shared memory. PTX ISA, "Parallel
// Synchronization and Communication Instructions: barrier.cluster" and "Data Movement and Conversion Instructions:
// mapa" (sm_90 and up). Earlier cards know no clusters: built for them, these end the kernel with an error.
#pragma once

#include <cstdint>

namespace flashconvert::kernels::ptx {

// Every thread of every block has come here, and what they wrote before can be read by all.
__device__ __forceinline__ void cluster_sync() {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
#else
  __trap();
#endif
}

// Every thread of every block has come here, with what it has read so far. Orders no writes, and waits for none.
__device__ __forceinline__ void cluster_sync_reads() {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "barrier.cluster.arrive.relaxed.aligned;\n"
      "barrier.cluster.wait.aligned;" ::
          : "memory");
#else
  __trap();
#endif
}

// What `shared`, a place in this block's shared memory, is in that of block `rank`.
template <class T>
__device__ __forceinline__ T* address_in_block(T* shared, int rank) {
#if __CUDA_ARCH__ >= 900
  std::uint64_t mapped = 0;
  asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(shared), "r"(rank));
  return reinterpret_cast<T*>(mapped);
#else
  __trap();
  return shared;
#endif
}

// The block's number in its cluster.
__device__ __forceinline__ int block_rank_in_cluster() {
  std::uint32_t rank = 0;
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return static_cast<int>(rank);
}

// Arrives at the mbarrier that lies where `barrier` does, in block `rank` of the cluster.
__device__ __forceinline__ void barrier_arrive_in_block(std::uint32_t barrier, int rank) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
      "}" ::"r"(barrier),
      "r"(rank)
      : "memory");
#else
  __trap();
#endif
}

}  // namespace flashconvert::kernels::ptx
