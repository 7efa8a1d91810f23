// Unfinished rows of attention whose keys were split among blocks, and how they are added up: the sum of the splits'
// rows, weighted by the difference of their maxima, over the sum of their sums.
#pragma once

#include <cfloat>

#include "../ptx/math.cuh"

namespace flashconvert::kernels {

// Some splits of a row added up: relative to the highest of their maxima.
struct PartialRow {
  float maximum;
  float sum;
  float4 columns;
};

// No split at all.
__device__ __forceinline__ PartialRow empty_partial_row() { return {-FLT_MAX, 0.F, {0.F, 0.F, 0.F, 0.F}}; }

// What a row relative to `maximum` is worth relative to `highest`. (Where nothing was visible the maximum is the lowest
// float, so that no difference is NaN.)
__device__ __forceinline__ float partial_weight(float maximum, float highest, float maximum_scale) {
  return ptx::exp2_approximate((maximum - highest) * maximum_scale);
}

__device__ __forceinline__ PartialRow operator*(const PartialRow& row, float weight) {
  const float4& c = row.columns;
  return {row.maximum, row.sum * weight, {c.x * weight, c.y * weight, c.z * weight, c.w * weight}};
}

// Adds `count` rows to `total` at once.
template <int kCount>
__device__ __forceinline__ void accumulate(PartialRow& total, const PartialRow (&rows)[kCount], float maximum_scale) {
  float highest = total.maximum;
#pragma unroll
  for (int i = 0; i < kCount; ++i) highest = fmaxf(highest, rows[i].maximum);
  total = total * partial_weight(total.maximum, highest, maximum_scale);
  total.maximum = highest;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const PartialRow row = rows[i] * partial_weight(rows[i].maximum, highest, maximum_scale);
    total.sum += row.sum;
    total.columns.x += row.columns.x;
    total.columns.y += row.columns.y;
    total.columns.z += row.columns.z;
    total.columns.w += row.columns.w;
  }
}

// What the sum of all splits is multiplied with in the end. A row without any visible key takes `empty_row`.
__device__ __forceinline__ float finishing_factor(const PartialRow& total, float empty_row) {
  return total.sum == 0.F ? empty_row : 1.F / total.sum;
}

template <class T>
__device__ __forceinline__ void store_columns(T* to, const PartialRow& row, float factor, int columns,
                                              bool vector_stores) {
  struct alignas(4 * sizeof(T)) Four {
    T elements[4];
  };
  const float4& c = row.columns;
  const Four four = {{T(c.x * factor), T(c.y * factor), T(c.z * factor), T(c.w * factor)}};
  if (vector_stores && columns >= 4) {
    *reinterpret_cast<Four*>(to) = four;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < columns) to[i] = four.elements[i];
    }
  }
}

}  // namespace flashconvert::kernels
