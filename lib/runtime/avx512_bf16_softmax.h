// The softmax between the two products (avx512_bf16_product.h), for one row and one tile of keys at a time.
#pragma once

#include <limits>

#include "avx512_bf16.h"
#include "avx512_bf16_product.h"

namespace flashconvert::runtime::avx512_bf16 {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// 2 to the power of x: a power of two by the exponent, and a polynomial for the fraction, fitted for the least relative
// error among those of degree 5 that are 1 at 0. In float32 it is within 1.6e-7. NaN gives NaN, minus infinity 0.
FLASHCONVERT_AVX512_BF16 inline __m512 exp2(__m512 x) {
  constexpr float kCoefficients[] = {0.0018671298F, 0.0090170307F, 0.0557999127F, 0.2401644439F, 0.6931512952F, 1.F};
  const __m512 fraction = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // x - floor(x)
  __m512 power = _mm512_set1_ps(kCoefficients[0]);
  for (int i = 1; i < 6; ++i) {
    power = _mm512_fmadd_ps(power, fraction, _mm512_set1_ps(kCoefficients[i]));
  }
  return _mm512_scalef_ps(power, x);  // times 2 to the power of floor(x)
}

FLASHCONVERT_AVX512_BF16 inline __m512 exp(__m512 x) {
  constexpr float kLog2E = 1.44269504F;
  return exp2(_mm512_mul_ps(x, _mm512_set1_ps(kLog2E)));
}

// 1 - 2 / (exp(2 x) + 1): its absolute error is float32's, its relative error near 0 is not. A score needs the first.
FLASHCONVERT_AVX512_BF16 inline __m512 tanh(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.F);
  const __m512 power = exp(_mm512_add_ps(x, x));
  return _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.F), _mm512_add_ps(power, one)));
}

struct ScoreRow {
  float* scores;            // products of query and keys; overwritten
  std::uint16_t* weights;   // what the values are to be multiplied with
  std::int64_t columns;     // a multiple of kLanes
  std::int64_t first, end;  // of the visible columns
  BiasType bias_type;
  const void* bias;  // of the columns, which adjoin
};

// Adds the bias of 16 columns, or takes the keys that it hides out of `visible`.
FLASHCONVERT_AVX512_BF16 inline __m512 biased(__m512 score, const ScoreRow& row, std::int64_t column,
                                              __mmask16& visible) {
  switch (row.bias_type) {
    case BiasType::kNone:
      break;
    case BiasType::kBoolean: {
      const __m128i bytes = _mm_maskz_loadu_epi8(visible, static_cast<const std::uint8_t*>(row.bias) + column);
      visible = _mm_test_epi8_mask(bytes, bytes);
      break;
    }
    case BiasType::kBfloat16: {
      const __m256i halves = _mm256_maskz_loadu_epi16(visible, static_cast<const std::uint16_t*>(row.bias) + column);
      const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
      return _mm512_add_ps(score, _mm512_castsi512_ps(bits));
    }
    case BiasType::kFloat32:
      return _mm512_add_ps(score, _mm512_maskz_loadu_ps(visible, static_cast<const float*>(row.bias) + column));
  }
  return score;
}

// Turns the products into scores, minus infinity where a key is hidden. Returns the largest; any number beside a NaN.
FLASHCONVERT_AVX512_BF16 inline float finish_scores(const ScoreRow& row, float scale, float softcap) {
  const __m512 factor = _mm512_set1_ps(softcap > 0.F ? scale / softcap : scale);
  const __m512 hidden = _mm512_set1_ps(-kInfinity);
  const __m512i first = _mm512_set1_epi32(static_cast<int>(row.first));
  const __m512i width = _mm512_set1_epi32(static_cast<int>(row.end - row.first));
  __m512i columns = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512 largest = hidden;
  for (std::int64_t column = 0; column < row.columns; column += kLanes) {
    __mmask16 visible =
        _mm512_cmplt_epu32_mask(_mm512_sub_epi32(columns, first), width);  // unsigned: wraps below first
    columns = _mm512_add_epi32(columns, _mm512_set1_epi32(kLanes));
    __m512 score = _mm512_mul_ps(_mm512_loadu_ps(row.scores + column), factor);
    if (softcap > 0.F) {
      score = _mm512_mul_ps(tanh(score), _mm512_set1_ps(softcap));
    }
    score = biased(score, row, column, visible);
    score = _mm512_mask_mov_ps(hidden, visible, score);
    largest = _mm512_max_ps(largest, score);
    _mm512_storeu_ps(row.scores + column, score);
  }
  return _mm512_reduce_max_ps(largest);
}

// Of the tiles so far. The sum is 0 where every score is minus infinity, and NaN where one is NaN or infinity.
struct RowState {
  float maximum = -kInfinity;
  float sum = 0.F;
};

// Writes the weights of the scores, relative to the largest score so far. Returns the factor that takes sums of earlier
// tiles to the same measure.
FLASHCONVERT_AVX512_BF16 inline float weigh(const ScoreRow& row, float largest, RowState& state) {
  const float maximum = std::max(state.maximum, largest);
  const float reference = maximum == -kInfinity ? 0.F : maximum;  // then every weight is 0, not NaN
  __m512 sums = _mm512_setzero_ps();
  for (std::int64_t column = 0; column < row.columns; column += kLanes) {
    const __m512 weight = exp(_mm512_sub_ps(_mm512_loadu_ps(row.scores + column), _mm512_set1_ps(reference)));
    sums = _mm512_add_ps(sums, weight);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row.weights + column), (__m256i)_mm512_cvtneps_pbh(weight));
  }
  const float factor = _mm512_cvtss_f32(exp(_mm512_set1_ps(state.maximum - reference)));
  state.maximum = maximum;
  state.sum = state.sum * factor + _mm512_reduce_add_ps(sums);
  return factor;
}

}  // namespace flashconvert::runtime::avx512_bf16
