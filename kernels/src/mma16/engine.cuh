// The arithmetic of attention on 16-bit operands with mma.sync (sm_80 and up). Each warp owns whole rows, so that the
// softmax needs no other warp, and the weights go from the first product's accumulators to the second product's
// operands without leaving the registers. The schedule around it is device/attention_kernel.cuh.
#pragma once

#include "../device/online_softmax.cuh"
#include "../device/shared_layout.cuh"
#include "../device/thread.cuh"
#include "../device/warp_place.cuh"
#include "../kernel_list.h"
#include "../ptx/ldmatrix.cuh"
#include "../ptx/mma.cuh"
#include "../tuning.h"

namespace flashconvert::kernels {

// The address that a lane gives to ldmatrix for the 16 x 16 piece at (row, column): `row_address` covers the lane's
// row, `chunk` is its half of the piece, already swizzled. Only whole multiples of 16 are added to row and column,
// which leaves the lane's permutation as it is, so most of this folds into immediate offsets.
template <class Layout>
struct PieceAddress {
  std::uint32_t row_address;
  std::uint32_t chunk;

  __device__ __forceinline__ PieceAddress(std::uint32_t tile, int lane_row, int lane_half)
      : row_address(tile + lane_row * Layout::kRowBytes),
        chunk(static_cast<std::uint32_t>(lane_half) * 16 ^ Layout::swizzle(lane_row)) {}

  __device__ __forceinline__ std::uint32_t at(int row, int column) const {
    const std::uint32_t bytes = static_cast<std::uint32_t>(column) * 2;
    return row_address + row * Layout::kRowBytes + (chunk ^ (bytes & Layout::kSpanMask)) + (bytes & ~Layout::kSpanMask);
  }
};

template <class T, int kDim, Variant kVariant, Lengths kLengths>
struct Mma16 {
  using Element = T;
  using Layout = SwizzledLayout<kDim>;
  static constexpr TileShape kTile = mma16_tile(kDim, kVariant, kLengths);
  static constexpr int kHeadDim = kDim;
  static constexpr int kThreads = kTile.threads();
  static constexpr int kRows = kTile.rows();
  static constexpr int kRowTiles = kTile.row_tiles;
  static constexpr int kKeys = kTile.keys;
  static constexpr int kWarpKeys = kTile.warp_keys();
  static constexpr int kKeyWarps = kTile.key_warps;
  static constexpr int kSharedBytes = mma16_shared_bytes(kDim, kVariant, kLengths);
  static constexpr bool kGeneral = kVariant == Variant::kGeneral;
  static constexpr bool kAccurateCap = false;
  static constexpr bool kAsksForFiniteValues = false;
  static constexpr bool kYieldsToHalves = false;
  static constexpr bool kSkipsEmptyWarps = kRowTiles == 1;  // with two, the branch would cost spills
  static constexpr bool kSplitsKeys = mma16_splits_keys(kDim, kVariant, kLengths);

  // mma accumulators: [16-row tile][8-column tile][element]
  using Scores = float[kRowTiles][kWarpKeys / 8][4];
  using Output = float[kRowTiles][kDim / 8][4];
  using Softmax = OnlineSoftmax<kRowTiles, kGeneral ? ScoreUnits::kNatural : ScoreUnits::kRaw>;

  // scores = Q K^T for the warp's rows and one key tile.
  static __device__ __forceinline__ void multiply_query_key(Scores& scores, std::uint32_t query_tile,
                                                            std::uint32_t key_tile) {
    const int lane = lane_index();
    const PieceAddress<Layout> query(query_tile, warp_row<Mma16>() + lane % 16, lane / 16);
    const PieceAddress<Layout> key(key_tile, warp_key<Mma16>() + lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kWarpKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[m][n][i] = 0.F;
      }
    }
#pragma unroll
    for (int d = 0; d < kHeadDim; d += 16) {
      std::uint32_t rows[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) ptx::load_matrices(rows[m], query.at(16 * m, d));
#pragma unroll
      for (int n = 0; n < kWarpKeys; n += 16) {
        std::uint32_t columns[4];
        ptx::load_matrices(columns, key.at(n, d));
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          ptx::multiply_accumulate<Element>(scores[m][n / 8], rows[m], columns[0], columns[1]);
          ptx::multiply_accumulate<Element>(scores[m][n / 8 + 1], rows[m], columns[2], columns[3]);
        }
      }
    }
  }

  // output = output * rescale + weights V for the warp's rows and one value tile. The accumulators of two neighbouring
  // 8-column tiles of weights are, packed, the operand of a product over 16 keys.
  static __device__ __forceinline__ void multiply_weights_value(Output& output, const Scores& weights,
                                                                const float (&rescale)[kRowTiles][2],
                                                                std::uint32_t value_tile, bool /*all_finite*/) {
    const int lane = lane_index();
    const PieceAddress<Layout> value(value_tile, warp_key<Mma16>() + lane % 16, lane / 16);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) output[m][n][i] *= rescale[m][i / 2];
      }
    }
#pragma unroll
    for (int k = 0; k < kWarpKeys; k += 16) {
      std::uint32_t rows[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        const float(&left)[4] = weights[m][k / 8];
        const float(&right)[4] = weights[m][k / 8 + 1];
        rows[m][0] = ptx::pack<Element>(left[0], left[1]);
        rows[m][1] = ptx::pack<Element>(left[2], left[3]);
        rows[m][2] = ptx::pack<Element>(right[0], right[1]);
        rows[m][3] = ptx::pack<Element>(right[2], right[3]);
      }
#pragma unroll
      for (int d = 0; d < kHeadDim; d += 16) {
        std::uint32_t columns[4];
        ptx::load_matrices_transposed(columns, value.at(k, d));
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          ptx::multiply_accumulate<Element>(output[m][d / 8], rows[m], columns[0], columns[1]);
          ptx::multiply_accumulate<Element>(output[m][d / 8 + 1], rows[m], columns[2], columns[3]);
        }
      }
    }
  }

  // Rounds the finished rows into the warp's own part of a tile in shared memory.
  static __device__ __forceinline__ void stage_output(char* shared, int warp_row, const Output& output,
                                                      const float (&factor)[kRowTiles][2]) {
    const int lane = lane_index();
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_row + 16 * m + 8 * half + lane / 4;
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n) {
          const float low = output[m][n][2 * half] * factor[m][half];
          const float high = output[m][n][2 * half + 1] * factor[m][half];
          *reinterpret_cast<std::uint32_t*>(shared + Layout::offset(row, 8 * n + lane % 4 * 2)) =
              ptx::pack<T>(low, high);
        }
      }
    }
  }

  // Writes this lane's elements of one unfinished row, as they are.
  static __device__ __forceinline__ void store_partial_row(float* row, int columns, const Output& output, int m,
                                                           int half) {
    const int first_column = lane_index() % 4 * 2;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      const int column = 8 * n + first_column;
      const float2 pair = {output[m][n][2 * half], output[m][n][2 * half + 1]};
      if (column < columns) *reinterpret_cast<float2*>(row + column) = pair;
    }
  }
};

}  // namespace flashconvert::kernels
