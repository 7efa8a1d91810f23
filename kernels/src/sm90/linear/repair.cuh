// Results that the halves cannot give: a row holds infinities, NaN or numbers beyond what is scaled, or a result is so
// small beside its rows that what they lost by being split would show. Each is computed again as a sum in float64,
// which holds every product of two floats and never leaves its range; a warp does so for one result at a time.
//
// No kernel is launched and nobody is asked: on numbers as layers have them one result in some ten million comes here,
// and with a tensor of nothing else the kernel is merely slow.
#pragma once

#include "epilogue.cuh"

namespace flashconvert::kernels::sm90::linear {

// Row `left` of the left operand times row `right` of the right one, in every lane.
__device__ __forceinline__ float exact_result(const Parameters& p, int left, int right, int lane) {
  const float* const a = p.left_values.data + left * p.left_values.row_stride;
  const float* const b = p.right_values.data + right * p.right_values.row_stride;
  double sum = 0.;
#pragma unroll 4
  for (int k = lane; k < p.depth; k += kWarpThreads) {
    sum = fma(static_cast<double>(a[k * p.left_values.column_stride]),
              static_cast<double>(b[k * p.right_values.column_stride]), sum);
  }
#pragma unroll
  for (int distance = kWarpThreads / 2; distance > 0; distance /= 2) {
    sum += __shfl_xor_sync(0xffffffffU, sum, distance);
  }
  return static_cast<float>(sum);
}

template <class Tile, Activation kActivation>
__device__ __forceinline__ void repair(const Parameters& p, Suspects<Tile>& suspects, int first_left, int first_right) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
#pragma unroll
  for (int word = 0; word < Suspects<Tile>::kWords; ++word) {
    std::uint32_t mine = suspects.words[word];
#pragma unroll 1
    while (true) {
      const std::uint32_t lanes = __ballot_sync(0xffffffffU, mine != 0);
      if (lanes == 0) break;
      const int owner = __ffs(static_cast<int>(lanes)) - 1;
      const int index = 32 * word + __shfl_sync(0xffffffffU, __ffs(static_cast<int>(mine)) - 1, owner);
      const int left = first_left + owner / 4 + index / 2 % 2 * 8;
      const int right = first_right + index / 4 * 8 + owner % 4 * 2 + index % 2;
      const float value = exact_result(p, left, right, lane);
      if (lane == owner) {
        *output_at(p, left, right) = finish<kActivation>(p, value, left, right);
        mine &= mine - 1;
      }
    }
  }
}

}  // namespace flashconvert::kernels::sm90::linear
