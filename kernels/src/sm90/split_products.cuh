// The products of operands in halves, x y = low high + high low + high high (products.cuh has those of 16 bits). The
// small ones come first: tensor cores round each sum toward zero, and a sum that is still small loses little. For the
// same reason long sums are made in parts, which ordinary instructions add up.
#pragma once

#include "products.cuh"

namespace flashconvert::kernels::sm90 {

// The scores of a tile of keys, from one part of the head's columns or from two.
template <class Tile>
struct SplitScores {
  Accumulators<Tile::kKeys> part[Tile::kScoreParts];

  // After the wait for the products: their sum.
  __device__ __forceinline__ Accumulators<Tile::kKeys>& sum() {
#pragma unroll
    for (int i = 0; i < Tile::kScoreParts; ++i) ptx::pin_registers(flat<Tile::kKeys>(part[i]));
    if constexpr (Tile::kScoreParts == 2) {
#pragma unroll
      for (int n = 0; n < Tile::kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) part[0][0][n][i] += part[1][0][n][i];
      }
      ptx::pin_registers(flat<Tile::kKeys>(part[0]));
    }
    return part[0];
  }
};

// Q K^T. Operands as QueryKeyProduct's.
template <class Tile>
class SplitQueryKeyProduct {
  static constexpr ptx::Swizzle kSwizzle = Tile::kHeadSwizzle;
  static constexpr std::uint64_t kLayout = ptx::k_major_layout(kSwizzle);

public:
  static __device__ __forceinline__ std::uint32_t operand(std::uint32_t address) {
    return uniform(ptx::descriptor_low(kLayout, address));
  }

  __device__ __forceinline__ SplitQueryKeyProduct(std::uint32_t query, std::uint32_t key)
      : query_(ptx::descriptor_from(kLayout, query)), key_(ptx::descriptor_from(kLayout, key)) {}

  __device__ __forceinline__ void issue(SplitScores<Tile>& scores) const {
#pragma unroll
    for (int part = 0; part < Tile::kScoreParts; ++part) {
      const int first = part * kColumns;
      issue(scores.part[part], Tile::kHeadDim + first, first, true);
      issue(scores.part[part], first, Tile::kHeadDim + first, false);
      issue(scores.part[part], first, first, false);
    }
  }

private:
  static constexpr int kColumns = Tile::kHeadDim / Tile::kScoreParts;

  __device__ __forceinline__ void issue(Accumulators<Tile::kKeys>& scores, int first_query_column, int first_key_column,
                                        bool is_first) const {
#pragma unroll
    for (int column = 0; column < kColumns; column += 16) {
      ptx::WarpgroupProduct<__half, Tile::kKeys>::from_shared(
          flat<Tile::kKeys>(scores), query_ + (offset<Tile::kRows>(first_query_column + column) >> 4),
          key_ + (offset<Tile::kKeys>(first_key_column + column) >> 4), !is_first || column != 0);
    }
  }
  template <int kTileRows>
  static __device__ __forceinline__ int offset(int column) {
    constexpr int kPanelColumns = ptx::panel_columns(kSwizzle);
    return column / kPanelColumns * kTileRows * ptx::panel_bytes(kSwizzle) + column % kPanelColumns * 2;
  }

  std::uint64_t query_;
  std::uint64_t key_;
};

// The weights of a tile in halves, in the layout of A.
template <class Tile>
struct SplitWeights {
  std::uint32_t high[Tile::kKeys / 16][4];
  std::uint32_t low[Tile::kKeys / 16][4];

  // After the wait for products that read them: see ptx::pin_operands.
  __device__ __forceinline__ void pin() {
#pragma unroll
    for (int step = 0; step < Tile::kKeys / 16; ++step) {
      ptx::pin_operands(high[step]);
      ptx::pin_operands(low[step]);
    }
  }
};

// Weights V for a chunk of the columns and a part of the keys, in accumulators whose old contents do not count.
template <class Tile>
class SplitWeightsValueProduct {
  static constexpr ptx::Swizzle kSwizzle = Tile::kValueSwizzle;
  static constexpr std::uint64_t kLayout = ptx::mn_major_layout(kSwizzle, Tile::kKeys);

public:
  static __device__ __forceinline__ std::uint32_t operand(std::uint32_t address) {
    return uniform(ptx::descriptor_low(kLayout, address));
  }

  __device__ __forceinline__ explicit SplitWeightsValueProduct(std::uint32_t value)
      : value_(ptx::descriptor_from(kLayout, value)) {}

  __device__ __forceinline__ void issue(Accumulators<Tile::kChunk>& product, const SplitWeights<Tile>& weights,
                                        int first_column, int first_key) const {
    issue(product, weights.low, first_column, first_key, true);
    issue(product, weights.high, Tile::kValueDim + first_column, first_key, false);
    issue(product, weights.high, first_column, first_key, false);
  }

private:
  __device__ __forceinline__ void issue(Accumulators<Tile::kChunk>& product,
                                        const std::uint32_t (&weights)[Tile::kKeys / 16][4], int first_column,
                                        int first_key, bool is_first) const {
    constexpr int kPanelColumns = ptx::panel_columns(kSwizzle);
    const int panel = first_column / kPanelColumns;
#pragma unroll
    for (int key = first_key; key < first_key + Tile::kSumKeys; key += 16) {
      const int bytes = (panel * Tile::kKeys + key) * ptx::panel_bytes(kSwizzle);
      ptx::WarpgroupProduct<__half, Tile::kChunk>::from_registers(flat<Tile::kChunk>(product), weights[key / 16],
                                                                  value_ + (bytes >> 4), !is_first || key != first_key);
    }
  }

  std::uint64_t value_;
};

// Weights are multiplied by 2^11 before they are halved, so that small ones keep their bits: they are 2^4 at most.
inline constexpr float kWeightScale = 2048.F;

template <class Tile>
__device__ __forceinline__ void split_weights(SplitWeights<Tile>& weights, const Accumulators<Tile::kKeys>& scores) {
#pragma unroll
  for (int step = 0; step < Tile::kKeys / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&four)[4] = scores[0][2 * step + i / 2];
      const float a = four[i % 2 * 2];
      const float b = four[i % 2 * 2 + 1];
      const std::uint32_t high = ptx::pack<__half>(a * kWeightScale, b * kWeightScale);
      const float2 rounded = ptx::unpack<__half>(high);
      weights.high[step][i] = high;
      weights.low[step][i] = ptx::pack<__half>(fmaf(a, kWeightScale, -rounded.x), fmaf(b, kWeightScale, -rounded.y));
    }
  }
}

}  // namespace flashconvert::kernels::sm90
