// A chunk's three products, in the order of their size: what the tensor cores cut off when they add is in proportion to
// what they have summed up by then. docs/kernels/fp32.md.
#pragma once

#include "../../ptx/matrix_descriptor.h"
#include "../../ptx/wgmma.cuh"
#include "left_operand.cuh"

namespace flashconvert::kernels::sm90::linear {

template <class Tile>
using Sums = float[Tile::kColumns / 2];

// accumulators = left * right^T. `right`: a descriptor of the chunk (K-major, 128-byte swizzle).
template <class Tile>
__device__ __forceinline__ void issue_products(Sums<Tile>& accumulators, const LeftHalves& left, std::uint64_t right) {
  using Product = ptx::WarpgroupProduct<__half, Tile::kColumns>;
  const auto right_at = [&](int step, int half) { return right + ((half * (kChunkBytes / 2) + step * 32) >> 4); };
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    Product::from_registers_k_major(accumulators, left.low[step], right_at(step, 0), step != 0);
    Product::from_registers_k_major(accumulators, left.high[step], right_at(step, 1), true);
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    Product::from_registers_k_major(accumulators, left.high[step], right_at(step, 0), true);
  }
}

}  // namespace flashconvert::kernels::sm90::linear
