// The end of a tile: rows divided by their sums, rounded, and stored 16 bytes at a time straight from the registers.
// No shared memory is involved, so that the next tile's operands may already be on their way into all of it.
#pragma once

#include "../device/schedule.cuh"
#include "../ptx/math.cuh"
#include "products.cuh"

namespace flashconvert::kernels::sm90 {

// A 4 x 4 transpose of words among the four lanes of a quad: word w of lane l becomes word l of lane w.
__device__ __forceinline__ void transpose_quad(std::uint32_t (&words)[4], int lane) {
  const bool odd = (lane & 1) != 0;
  const bool upper = (lane & 2) != 0;
  const auto exchange = [](std::uint32_t& low, std::uint32_t& high, bool keep_high, int distance) {
    const std::uint32_t received = __shfl_xor_sync(0xffffffffU, keep_high ? low : high, distance);
    (keep_high ? low : high) = received;
  };
  exchange(words[0], words[1], odd, 1);
  exchange(words[2], words[3], odd, 1);
  exchange(words[0], words[2], upper, 2);
  exchange(words[1], words[3], upper, 2);
}

// `output`: the warp's 16 rows from `first_row` on, to be multiplied by `factor` (rows g and g + 8 of the lane).
template <class Element, class Tile>
__device__ __forceinline__ void store_output(const KernelParameters& p, const Work& work, int first_row,
                                             const Accumulators<Tile::kValueDim>& output, const float (&factor)[2]) {
  constexpr int kBlocks = Tile::kValueDim / 8;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  Element* const head = static_cast<Element*>(const_cast<void*>(p.output.data)) + work.batch * p.output.batch_stride +
                        work.head * p.output.head_stride;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + 8 * half;
    Element* const to = head + row * p.output.row_stride;
#pragma unroll
    for (int block = 0; block < kBlocks; block += 4) {
      std::uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int n = block + i < kBlocks ? block + i : kBlocks - 1;  // the rest of an incomplete group is not stored
        words[i] = ptx::pack<Element>(output[0][n][2 * half] * factor[half], output[0][n][2 * half + 1] * factor[half]);
      }
      transpose_quad(words, lane);
      const int column = 8 * (block + lane % 4);
      if (row < p.query_length && column < p.value_dim) {
        *reinterpret_cast<uint4*>(to + column) = make_uint4(words[0], words[1], words[2], words[3]);
      }
    }
  }
}

}  // namespace flashconvert::kernels::sm90
