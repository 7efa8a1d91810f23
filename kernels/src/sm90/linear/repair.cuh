// Results that the halves cannot give: a row holds infinities, NaN or numbers beyond what is scaled, or a result is so
// small beside its rows that what they lost by being split would show. Each is computed again as a sum in float64,
// which holds every product of two floats and never leaves its range; a warp does so for one result at a time.
//
// No kernel is launched and nobody is asked: on numbers as layers have them one result in some ten million comes here,
// and with a tensor of nothing else the kernel is merely slow.
#pragma once

#include "epilogue.cuh"

namespace flashconvert::kernels::sm90::linear {

// What a lane's two rows ask of their sums, for each unit of loss of a column and in any case.
struct RowLimits {
  float largest[2];
  float loss[2];
};

// Whether any of a warp's results may be one of those, by the least of each row and the worst of the tile's columns.
template <class Tile>
__device__ __forceinline__ bool may_need_repair(const Sums<Tile>& sums, const RowLimits& rows, float worst_column) {
  bool may = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float least = CUDART_INF_F;
#pragma unroll
    for (int n = 0; n < Tile::kColumns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) least = ptx::min_or_nan(least, fabsf(sums[4 * n + 2 * half + i]));
    }
    // A comparison with NaN is false.
    may = may || !(least >= fmaf(worst_column, rows.largest[half], rows.loss[half]));
  }
  return __any_sync(0xffffffffU, may);
}

// Row `left` of the left operand times row `right` of the right one, in every lane.
__device__ __forceinline__ float exact_result(const Parameters& p, int left, int right) {
  const int lane = lane_index();
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

// A warp's results, one after the other.
template <class Tile>
__device__ __forceinline__ void repair(const Parameters& p, const Sums<Tile>& sums, const RowLimits& rows,
                                       const ResultPlace& at) {
  constexpr int kCount = Tile::kColumns / 2;
  const int lane = lane_index();
#pragma unroll
  for (int first = 0; first < kCount; first += 32) {
    std::uint32_t spoilt = 0;  // a bit for each of this lane's results
#pragma unroll
    for (int index = first; index < kCount && index < first + 32; ++index) {
      const int half = index / 2 % 2;
      const int right = at.right + index / 4 * 8 + index % 2;
      if (at.left + 8 * half >= p.left_rows || right >= p.right_rows) continue;
      const float least = fmaf(p.right_scales[right].loss, rows.largest[half], rows.loss[half]);
      if (!(fabsf(sums[index]) >= least)) spoilt |= 1U << (index - first);
    }
#pragma unroll 1
    while (const std::uint32_t lanes = __ballot_sync(0xffffffffU, spoilt != 0)) {
      const int owner = __ffs(static_cast<int>(lanes)) - 1;
      const int index = first + __shfl_sync(0xffffffffU, __ffs(static_cast<int>(spoilt)) - 1, owner);
      const int left = __shfl_sync(0xffffffffU, at.left, owner) + index / 2 % 2 * 8;
      const int right = __shfl_sync(0xffffffffU, at.right, owner) + index / 4 * 8 + index % 2;
      const float value = exact_result(p, left, right);
      if (lane == owner) {
        *output_at(p, left, right) = finish(p, value, left, right);
        spoilt &= spoilt - 1;
      }
    }
  }
}

}  // namespace flashconvert::kernels::sm90::linear
