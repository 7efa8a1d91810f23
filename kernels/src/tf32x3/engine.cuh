// The arithmetic of attention on fp32 operands with fp32's accuracy, as three TF32 products on mma.sync (sm_80 and up).
// Tensor cores round their sums toward zero, which over thousands of keys adds up to a bias far above fp32's own error:
// so a product runs over 32 terms at most (one chunk of the head dimension, one key tile) in fresh accumulators, and
// those are added to the running result by ordinary fp32 instructions, which also do the softmax's rescaling for
// nothing. The schedule around it is device/attention_kernel.cuh.
#pragma once

#include "../device/online_softmax.cuh"
#include "../device/shared_layout.cuh"
#include "../device/thread.cuh"
#include "../device/warp_place.cuh"
#include "../ptx/ldmatrix.cuh"
#include "../ptx/mma.cuh"
#include "../tuning.h"
#include "split.cuh"

namespace flashconvert::kernels {

template <int kDim, Lengths kLengths>
struct Tf32x3 {
  using Element = float;
  using Layout = PaddedLayout<kDim>;
  static constexpr TileShape kTile = tf32x3_tile(kDim, kLengths);
  static constexpr int kHeadDim = kDim;
  static constexpr int kThreads = kTile.threads();
  static constexpr int kRows = kTile.rows();
  static constexpr int kRowTiles = kTile.row_tiles;
  static constexpr int kKeys = kTile.keys;
  static constexpr int kWarpKeys = kTile.warp_keys();
  static constexpr int kKeyWarps = kTile.key_warps;
  static constexpr int kSharedBytes = tf32x3_shared_bytes(kDim, kLengths);
  static constexpr bool kGeneral = true;  // the products cost so much that one variant serves all
  static constexpr bool kAccurateCap = true;
  static constexpr bool kSplitsKeys = true;
  static constexpr bool kYieldsToHalves = kLengths == Lengths::kLong || kLengths == Lengths::kLongOnHopper;
  static constexpr bool kAsksForFiniteValues = true;
  static constexpr bool kSkipsEmptyWarps = kRowTiles == 1;  // with two, the branch costs 5 to 10 %
  static constexpr int kChunk = 32;  // of the head dimension, in QK; of the value dimension, in PV

  // Accumulators: [16-row tile][8-column tile][element]. The output's columns are permuted: see
  // multiply_weights_value.
  using Scores = float[kRowTiles][kWarpKeys / 8][4];
  using Output = float[kRowTiles][kDim / 8][4];
  using Softmax = OnlineSoftmax<kRowTiles, ScoreUnits::kNatural>;

  // scores = Q K^T for the warp's rows and one key tile. The two corrections have accumulators of their own: added to
  // the large sum they would have it rounded three times as often.
  static __device__ __forceinline__ void multiply_query_key(Scores& scores, std::uint32_t query_tile,
                                                            std::uint32_t key_tile) {
    const int lane = lane_index();
    const std::uint32_t query = query_tile + Layout::offset(warp_row<Tf32x3>() + lane % 16, lane / 16 * 4);
    const std::uint32_t key =
        key_tile + Layout::offset(warp_key<Tf32x3>() + lane % 8 + lane / 16 * 8, lane / 8 % 2 * 4);
    Scores correction;
    clear(scores);
    clear(correction);
#pragma unroll
    for (int chunk = 0; chunk < kDim; chunk += kChunk) {
      __syncwarp();  // keeps ptxas from starting on the next chunk while registers are short
      Scores partial;
      clear(partial);
#pragma unroll
      for (int d = chunk; d < chunk + kChunk; d += 8) {
        std::uint32_t row_high[kRowTiles][4];
        std::uint32_t row_low[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          ptx::load_matrices(row_high[m], query + Layout::offset(16 * m, d));
          split_fragment(row_high[m], row_low[m]);
        }
#pragma unroll
        for (int n = 0; n < kWarpKeys; n += 16) {
          std::uint32_t high[4];
          std::uint32_t low[4];
          ptx::load_matrices(high, key + Layout::offset(n, d));
          split_fragment(high, low);
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
              float(&sum)[4] = partial[m][n / 8 + half];
              float(&small)[4] = correction[m][n / 8 + half];
              ptx::multiply_accumulate_tf32(small, row_low[m], high[2 * half], high[2 * half + 1]);
              ptx::multiply_accumulate_tf32(small, row_high[m], low[2 * half], low[2 * half + 1]);
              ptx::multiply_accumulate_tf32(sum, row_high[m], high[2 * half], high[2 * half + 1]);
            }
          }
        }
      }
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < kWarpKeys / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) scores[m][n][i] += partial[m][n][i];
        }
      }
    }
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kWarpKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[m][n][i] += correction[m][n][i];
      }
    }
  }

  // output = output * rescale + weights V for the warp's rows and one value tile.
  //
  // A sum may run over the keys in any order: operand rows t and t + 4 of a product over 8 keys are keys 2t and 2t + 1,
  // which makes the accumulators of QK its operand as they are. Likewise any column of V may play operand column g:
  // lane g reads 16 bytes, columns 4g to 4g + 3 of a chunk of 32, and column i of those goes to column tile i. Element
  // j (j = 0, 1) of that tile's accumulator is then output column 8t + 4j + i of the chunk.
  //
  // `all_finite`: what is true of the whole value tile. To ask it of each value, in every warp, takes up to a fifth of
  // the time.
  static __device__ __forceinline__ void multiply_weights_value(Output& output, const Scores& weights,
                                                                const float (&rescale)[kRowTiles][2],
                                                                std::uint32_t value_tile, bool all_finite) {
    if (all_finite) {
      multiply_weights_value<true>(output, weights, rescale, value_tile);
    } else {
      multiply_weights_value<false>(output, weights, rescale, value_tile);
    }
  }

  template <bool kAllFinite>
  static __device__ __forceinline__ void multiply_weights_value(Output& output, const Scores& weights,
                                                                const float (&rescale)[kRowTiles][2],
                                                                std::uint32_t value_tile) {
    const int lane = lane_index();
    const std::uint32_t value = value_tile + Layout::offset(warp_key<Tf32x3>() + lane % 4 * 2, lane / 4 * 4);
#pragma unroll
    for (int chunk = 0; chunk < kDim; chunk += kChunk) {
      __syncwarp();  // keeps ptxas from starting on the next chunk while registers are short
      float partial[kRowTiles][4][4];
      float correction[kRowTiles][4][4];
      clear(partial);
      clear(correction);
#pragma unroll
      for (int k = 0; k < kWarpKeys; k += 8) {
        std::uint32_t row_high[kRowTiles][4];
        std::uint32_t row_low[kRowTiles][4];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          const float(&weight)[4] = weights[m][k / 8];
          const float operand[4] = {weight[0], weight[2], weight[1], weight[3]};
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const SplitOperand parts = split(operand[i]);
            row_high[m][i] = parts.high;
            row_low[m][i] = parts.low;
          }
        }
        const float4 even = ptx::load_shared_16(value + Layout::offset(k, chunk));
        const float4 odd = ptx::load_shared_16(value + Layout::offset(k + 1, chunk));
        const float even_columns[4] = {even.x, even.y, even.z, even.w};
        const float odd_columns[4] = {odd.x, odd.y, odd.z, odd.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const SplitValue b0 = split_value<kAllFinite>(even_columns[i]);
          const SplitValue b1 = split_value<kAllFinite>(odd_columns[i]);
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) {
            ptx::multiply_accumulate_tf32(correction[m][i], row_low[m], b0.finite_high, b1.finite_high);
            ptx::multiply_accumulate_tf32(correction[m][i], row_high[m], b0.low, b1.low);
            ptx::multiply_accumulate_tf32(partial[m][i], row_high[m], b0.high, b1.high);
          }
        }
      }
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float& sum = output[m][chunk / 8 + n][i];
            sum = fmaf(sum, rescale[m][i / 2], partial[m][n][i] + correction[m][n][i]);
          }
        }
      }
    }
  }

  // Writes the finished rows to the warp's own part of a tile in shared memory, undoing the permutation of columns.
  static __device__ __forceinline__ void stage_output(char* shared, int warp_row, const Output& output,
                                                      const float (&factor)[kRowTiles][2]) {
    const int lane = lane_index();
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = warp_row + 16 * m + i / 2 * 8 + lane / 4;
        const float scale = factor[m][i / 2];
#pragma unroll
        for (int n = 0; n < kDim / 8; n += 4) {
          const float4 columns = {output[m][n][i] * scale, output[m][n + 1][i] * scale, output[m][n + 2][i] * scale,
                                  output[m][n + 3][i] * scale};
          const int column = 8 * n + lane % 4 * 8 + i % 2 * 4;
          *reinterpret_cast<float4*>(shared + Layout::offset(row, column)) = columns;
        }
      }
    }
  }

  // Writes this lane's elements of one unfinished row, as they are.
  static __device__ __forceinline__ void store_partial_row(float* row, int columns, const Output& output, int m,
                                                           int half) {
    const int first_column = lane_index() % 4 * 8;
#pragma unroll
    for (int n = 0; n < kDim / 8; n += 4) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = 8 * n + first_column + 4 * i;
        const int element = 2 * half + i;
        const float4 four = {output[m][n][element], output[m][n + 1][element], output[m][n + 2][element],
                             output[m][n + 3][element]};
        if (column < columns) *reinterpret_cast<float4*>(row + column) = four;
      }
    }
  }

private:
  template <int kM, int kN>
  static __device__ __forceinline__ void clear(float (&tile)[kM][kN][4]) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int n = 0; n < kN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) tile[m][n][i] = 0.F;
      }
    }
  }

  // `high` arrives as whole fp32 numbers.
  static __device__ __forceinline__ void split_fragment(std::uint32_t (&high)[4], std::uint32_t (&low)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const SplitOperand parts = split(__uint_as_float(high[i]));
      high[i] = parts.high;
      low[i] = parts.low;
    }
  }
};

}  // namespace flashconvert::kernels
