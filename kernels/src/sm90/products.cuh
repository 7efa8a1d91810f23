// The two matrix products of a warpgroup, over tiles that the loader laid out: descriptors stepped along the inner
// dimension. Both return at once; ptx::warpgroup_wait says when they are done.
#pragma once

#include "../ptx/matrix_descriptor.h"
#include "../ptx/wgmma.cuh"
#include "tile.h"

namespace flashconvert::kernels::sm90 {

// Accumulators as the softmax sees them (eight columns to four registers), and as the instruction does: one list.
template <int kColumns>
using Accumulators = float[1][kColumns / 8][4];

template <int kColumns>
__device__ __forceinline__ float (&flat(Accumulators<kColumns>& accumulators))[kColumns / 2] {
  return reinterpret_cast<float(&)[kColumns / 2]>(accumulators);
}

// Descriptors are the same for the whole warp, but the compiler cannot know that of anything that went round a loop: it
// would move each of them to a uniform register by itself. Told once, it steps them there.
__device__ __forceinline__ std::uint32_t uniform(std::uint32_t value) { return __shfl_sync(0xffffffffU, value, 0); }

// Q K^T: 64 rows of queries (already the warpgroup's own) and a tile of keys, each named by what `operand` made of its
// address in shared memory.
template <class Element, class Tile>
class QueryKeyProduct {
  static constexpr ptx::Swizzle kSwizzle = Tile::kHeadSwizzle;
  static constexpr std::uint64_t kLayout = ptx::k_major_layout(kSwizzle);

public:
  static __device__ __forceinline__ std::uint32_t operand(std::uint32_t address) {
    return uniform(ptx::descriptor_low(kLayout, address));
  }

  __device__ __forceinline__ QueryKeyProduct(std::uint32_t query, std::uint32_t key)
      : query_(ptx::descriptor_from(kLayout, query)), key_(ptx::descriptor_from(kLayout, key)) {}

  __device__ __forceinline__ void issue(Accumulators<Tile::kKeys>& scores) const {
    constexpr int kPanelColumns = ptx::panel_columns(kSwizzle);
#pragma unroll
    for (int column = 0; column < Tile::kHeadDim; column += 16) {
      const int panel = column / kPanelColumns;
      const int within = column % kPanelColumns * 2;
      const int query_bytes = panel * Tile::kRows * ptx::panel_bytes(kSwizzle) + within;
      const int key_bytes = panel * Tile::kKeys * ptx::panel_bytes(kSwizzle) + within;
      ptx::WarpgroupProduct<Element, Tile::kKeys>::from_shared(flat<Tile::kKeys>(scores), query_ + (query_bytes >> 4),
                                                               key_ + (key_bytes >> 4), column != 0);
    }
  }

private:
  std::uint64_t query_;
  std::uint64_t key_;
};

// output += weights V, in steps of 16 keys. `weights`: 16-bit pairs in the layout of A, four registers for 16 keys.
template <class Element, class Tile>
class WeightsValueProduct {
  static constexpr ptx::Swizzle kSwizzle = Tile::kValueSwizzle;
  static constexpr std::uint64_t kLayout = ptx::mn_major_layout(kSwizzle, Tile::kKeys);

public:
  static constexpr int kSteps = Tile::kKeys / 16;

  static __device__ __forceinline__ std::uint32_t operand(std::uint32_t address) {
    return uniform(ptx::descriptor_low(kLayout, address));
  }

  __device__ __forceinline__ explicit WeightsValueProduct(std::uint32_t value)
      : value_(ptx::descriptor_from(kLayout, value)) {}

  __device__ __forceinline__ void issue(Accumulators<Tile::kValueDim>& output,
                                        const std::uint32_t (&weights)[kSteps][4]) const {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int bytes = step * 16 * ptx::panel_bytes(kSwizzle);
      ptx::WarpgroupProduct<Element, Tile::kValueDim>::from_registers(flat<Tile::kValueDim>(output), weights[step],
                                                                      value_ + (bytes >> 4), true);
    }
  }

private:
  std::uint64_t value_;
};

}  // namespace flashconvert::kernels::sm90
