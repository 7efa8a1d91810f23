// What happens to a tile of scores between QK and the softmax: scale, softcap, bias, window. Scores are in mma's
// accumulator layout: element i of column tile n is row g + 8 * (i / 2), column 8n + 2t + i % 2 of its 16 rows.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math_constants.h>

#include <cstring>
#include <type_traits>

#include "../parameters.h"
#include "../ptx/math.cuh"
#include "online_softmax.cuh"
#include "schedule.cuh"

namespace flashconvert::kernels {

// Where this lane's elements of a tile belong in the whole matrix of scores.
struct ScorePosition {
  int row;     // of element 0 in row tile 0; row tile m adds 16 m, elements 2 and 3 add 8
  int column;  // of element 0 in column tile 0; column tile n adds 8 n, odd elements add 1
};

template <Rows kRows, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void hide_outside_window(float (&scores)[kRowTiles][kColumnTiles][4],
                                                    const KernelParameters& p, const ScorePosition& at) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const VisibleKeys keys = visible_keys<kRows>(p, at.row + 16 * m + 8 * half);
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[m][n][2 * half + i];
          score = is_visible(keys, at.column + 8 * n + i) ? score : -CUDART_INF_F;
        }
      }
    }
  }
}

// tanh without a branch, since it is unrolled over a whole tile. For 16-bit results one exponential will do: its error,
// 1e-7 of the cap, is far below the rounding of the operands.
__device__ __forceinline__ float tanh_fast(float x) {
  const float power = ptx::exp2_approximate(x * (2 * kLog2E));
  return 1.F - __fdividef(2.F, power + 1.F);
}

// For fp32 results: a few units in the last place, by the odd Taylor polynomial below 1/4 (next term: 1e-8 of x) and by
// an accurate exponential and quotient above.
__device__ __forceinline__ float tanh_accurate(float x) {
  const float x2 = x * x;
  const float series = fmaf(x2, fmaf(x2, fmaf(x2, 62.F / 2835, -17.F / 315), 2.F / 15), -1.F / 3);
  const float small = fmaf(x * x2, series, x);
  const float magnitude = fminf(fabsf(x), 10.F);  // tanh(10) rounds to 1
  const float divisor = expf(2.F * magnitude) + 1.F;
  const float estimate = __fdividef(1.F, divisor);
  const float quotient = fmaf(estimate, fmaf(-divisor, estimate, 1.F), estimate);
  const float large = copysignf(fmaf(-2.F, quotient, 1.F), x);
  return fabsf(x) >= 0.25F ? large : small;  // NaN takes the polynomial, and stays NaN
}

template <bool kAccurate, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void scale_and_cap(float (&scores)[kRowTiles][kColumnTiles][4], const KernelParameters& p) {
  const bool capped = p.softcap != 0.F;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[m][n][i] *= p.score_factor;
      if (!capped) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float x = scores[m][n][i];
        scores[m][n][i] = p.softcap * (kAccurate ? tanh_accurate(x) : tanh_fast(x));
      }
    }
  }
}

// Raw scores become hyperbolic tangents, to be multiplied by the cap. For 16-bit results: the instruction's error,
// 2^-11 of the score, is that of a score rounded to float16.
template <int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void cap_fast(float (&scores)[kRowTiles][kColumnTiles][4], float factor) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[m][n][i] = ptx::tanh_approximate(scores[m][n][i] * factor);
    }
  }
}

// What one element of the bias makes of a score. Booleans are read as bytes.
template <class Element>
__device__ __forceinline__ float with_bias(float score, Element element) {
  return score + static_cast<float>(element);
}
template <>
__device__ __forceinline__ float with_bias<std::uint8_t>(float score, std::uint8_t visible) {
  return visible != 0 ? score : -CUDART_INF_F;
}

// The offset of one head's bias, before row and column.
__device__ __forceinline__ std::int64_t bias_offset(const BiasView& bias, int batch, int head) {
  const int batch_inner = static_cast<int>(bias.batch_inner);
  const int outer = batch / batch_inner;
  const int inner = batch - outer * batch_inner;
  return outer * bias.outer_batch_stride + inner * bias.inner_batch_stride + head * bias.head_stride;
}

// Adds the bias of one head. Loads follow each other without a branch between them, so that they overlap: rows and
// columns that do not exist read the last one that does (their scores are hidden or never stored), and a bias that is
// the same for every query is read once for all of a lane's rows.
template <class Element, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void add_bias_of(float (&scores)[kRowTiles][kColumnTiles][4], const KernelParameters& p,
                                            std::int64_t head_offset, const ScorePosition& at) {
  struct alignas(2 * sizeof(Element)) Pair {
    Element low, high;
  };
  const Element* head = static_cast<const Element*>(p.bias.data) + head_offset;
  const auto row_of = [&](int m, int half) {
    return head + min(at.row + 16 * m + 8 * half, p.query_length - 1) * p.bias.row_stride;
  };
  const auto add = [&](int m, int half, int n, const Pair& pair) {
    scores[m][n][2 * half] = with_bias(scores[m][n][2 * half], pair.low);
    scores[m][n][2 * half + 1] = with_bias(scores[m][n][2 * half + 1], pair.high);
  };
  const auto add_all = [&](const auto& read) {
    if (p.bias.row_stride == 0) {
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
        const Pair pair = read(head, n);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          add(m, 0, n, pair);
          add(m, 1, n, pair);
        }
      }
    } else {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const Element* row = row_of(m, half);
#pragma unroll
          for (int n = 0; n < kColumnTiles; ++n) add(m, half, n, read(row, n));
        }
      }
    }
  };

  // at.column is 0, 2, 4 or 6 beyond the tile's first, so whether the tile is whole is the same for the warp.
  const bool whole_tile = at.column / 8 * 8 + 8 * kColumnTiles <= p.key_length;
  if (p.bias_pairs && whole_tile) {
    add_all([&](const Element* row, int n) { return *reinterpret_cast<const Pair*>(row + at.column + 8 * n); });
  } else {
    const int last = p.key_length - 1;
    add_all([&](const Element* row, int n) -> Pair {
      const int column = at.column + 8 * n;
      return {row[min(column, last) * p.bias.column_stride], row[min(column + 1, last) * p.bias.column_stride]};
    });
  }
}

// A bias that all queries share, read before the tile's keys are waited for and added after QK: where there is little
// else to do, as with one query, its latency would be a large part of a tile's time.
template <class T, int kColumnTiles>
class KeyBiasAhead {
public:
  static __device__ __forceinline__ bool applies_to(const BiasView& bias) {
    return bias.kind != BiasKind::kNone && bias.row_stride == 0;
  }

  // `column`: of this lane's first element. Keys that do not exist get the bias of the last: they are hidden.
  __device__ __forceinline__ void read(const KernelParameters& p, std::int64_t head_offset, int column) {
    switch (p.bias.kind) {
      case BiasKind::kNone:
        return;
      case BiasKind::kSameAsQuery:
        return read_as<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint16_t>>(p, head_offset, column);
      case BiasKind::kFloat32:
        return read_as<std::uint32_t>(p, head_offset, column);
      case BiasKind::kBoolean:
        return read_as<std::uint8_t>(p, head_offset, column);
    }
  }

  template <int kRowTiles>
  __device__ __forceinline__ void add_to(float (&scores)[kRowTiles][kColumnTiles][4], BiasKind kind) const {
    switch (kind) {
      case BiasKind::kNone:
        return;
      case BiasKind::kSameAsQuery:
        return add(scores, [](std::uint32_t bits) { return element_from<T>(bits); });
      case BiasKind::kFloat32:
        return add(scores, [](std::uint32_t bits) { return element_from<float>(bits); });
      case BiasKind::kBoolean:
        return add(scores, [](std::uint32_t bits) { return element_from<std::uint8_t>(bits); });
    }
  }

private:
  template <class Bits>
  __device__ __forceinline__ void read_as(const KernelParameters& p, std::int64_t head_offset, int column) {
    const Bits* head = static_cast<const Bits*>(p.bias.data) + head_offset;
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        bits_[n][i] = head[min(column + 8 * n + i, p.key_length - 1) * p.bias.column_stride];
      }
    }
  }
  template <class Element>
  static __device__ __forceinline__ Element element_from(std::uint32_t bits) {
    Element element;
    memcpy(&element, &bits, sizeof(Element));
    return element;
  }
  template <int kRowTiles, class ToElement>
  __device__ __forceinline__ void add(float (&scores)[kRowTiles][kColumnTiles][4], const ToElement& to_element) const {
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto element = to_element(bits_[n][i % 2]);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) scores[m][n][i] = with_bias(scores[m][n][i], element);
      }
    }
  }

  std::uint32_t bits_[kColumnTiles][2];  // of the elements, as they came: nothing waits for them before add_to
};

template <class T, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void add_bias(float (&scores)[kRowTiles][kColumnTiles][4], const KernelParameters& p,
                                         std::int64_t head_offset, const ScorePosition& at) {
  switch (p.bias.kind) {
    case BiasKind::kNone:
      return;
    case BiasKind::kSameAsQuery:
      return add_bias_of<T>(scores, p, head_offset, at);
    case BiasKind::kFloat32:
      return add_bias_of<float>(scores, p, head_offset, at);
    case BiasKind::kBoolean:
      return add_bias_of<std::uint8_t>(scores, p, head_offset, at);
  }
}

}  // namespace flashconvert::kernels
