// The tensor copy engine (TMA): boxes of a four-dimensional tensor to shared memory. PTX ISA, "Data Movement and
// Conversion Instructions: Tensor copy", cp.async.bulk.tensor and prefetch.tensormap (sm_90).
#pragma once

#include <cuda.h>

#include <cstdint>

namespace flashconvert::kernels::ptx {

// What the second-level cache should do with the lines: fixed encodings of createpolicy.fractional at fraction 1.
enum class CachePolicy : std::uint64_t {
  kEvictFirst = 0x12F0000000000000ULL,  // read once: queries
  kEvictLast = 0x14F0000000000000ULL,   // read again by other blocks: keys and values
  kNormal = 0x1000000000000000ULL,
};

__device__ __forceinline__ void prefetch_tensor_map(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Starts the copy of the map's box at (column, row, head, batch). Elements outside the tensor become zeros and count as
// bytes that have come in. One thread issues it.
__device__ __forceinline__ void copy_box(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier,
                                         int column, int row, int head, int batch, CachePolicy policy) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%3, %4, %5, %6}], [%2], %7;" ::"r"(shared),
      "l"(&map), "r"(barrier), "r"(column), "r"(row), "r"(head), "r"(batch), "l"(static_cast<std::uint64_t>(policy))
      : "memory");
}

// The same to the same place in every block of the cluster whose bit is set in `blocks`; each block's barrier counts
// what comes to it. Rows and columns of a matrix alone.
__device__ __forceinline__ void copy_box_to_blocks(std::uint32_t shared, const CUtensorMap& map, std::uint32_t barrier,
                                                   int column, int row, int blocks, CachePolicy policy) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"
      ".L2::cache_hint [%0], [%1, {%3, %4, 0, 0}], [%2], %5, %6;" ::"r"(shared),
      "l"(&map), "r"(barrier), "r"(column), "r"(row), "h"(static_cast<std::uint16_t>(blocks)),
      "l"(static_cast<std::uint64_t>(policy))
      : "memory");
}

}  // namespace flashconvert::kernels::ptx
