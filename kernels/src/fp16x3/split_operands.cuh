// The kernel before the kernel: float32 operands become pairs of float16 numbers, x = 2^-e (high + low), with a power
// of two for each query row and one for each tile of keys or values; and what their range is (range_facts.h).
//
// A block takes `kRows` rows of one head, one tile of keys. A row belongs to 8, 16 or 32 lanes of a warp, four columns
// each, so that its largest number and its sum take no shared memory.
#pragma once

#include <cuda_fp16.h>
#include <math_constants.h>

#include <cstdint>

#include "../ptx/math.cuh"
#include "flashconvert/kernels/attention.h"
#include "range_facts.h"

namespace flashconvert::kernels::fp16x3 {

enum class Part { kQuery, kKey, kValue };

struct SplitJob {
  TensorView source;
  std::uint16_t* halves;  // [batch, heads, length, 2 columns]
  float* scales;          // 2^-e: [batch, heads, length] for queries, [batch, heads, tiles] for the rest
  int heads;
  int length;
  int columns;   // in memory
  int tiles;     // of a head
  int end;       // the number of its last block, plus one
  bool vectors;  // rows can be read 16 bytes at a time
};

struct SplitParameters {
  SplitJob jobs[3];  // as Part
  RangeFacts* facts;
  float scale;  // of scores: its magnitude
};

inline constexpr int kSplitThreads = 256;
inline constexpr int kLargestHalfExponent = 14;  // of a scaled row's largest magnitude

// 2^e for the largest magnitude of a group, and 2^-e. One for zeros; clamped for what is unsafe in any case.
__device__ __forceinline__ float2 scales_of(float largest) {
  if (largest == 0.F) return {1.F, 1.F};
  constexpr int kBias = 127;
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23);
  const int clamped = min(max(exponent, kLeastExponent + kBias), kLargestExponent + kBias);
  return {__uint_as_float(static_cast<unsigned>(2 * kBias + kLargestHalfExponent - clamped) << 23),
          __uint_as_float(static_cast<unsigned>(clamped - kLargestHalfExponent) << 23)};
}

__device__ __forceinline__ bool is_in_range(float largest) {
  // Not for NaN, since all comparisons with it are false.
  return largest == 0.F || (largest >= 0x1p-60F && largest < 0x1p60F);
}

__device__ __forceinline__ void raise(unsigned* fact, unsigned bits) {
  if (bits > *static_cast<volatile unsigned*>(fact)) atomicMax(fact, bits);
}

template <int kColumns, int kRows>
class SplitBlock {
  static constexpr int kWarps = kSplitThreads / 32;
  static constexpr int kVectors = kColumns / 4;
  static constexpr int kLanes = kVectors <= 8 ? 8 : kVectors <= 16 ? 16 : 32;  // of a row
  static constexpr int kPieces = (kVectors + kLanes - 1) / kLanes;             // of four columns, of a lane
  static constexpr int kRowsAtATime = kWarps * (32 / kLanes);
  static constexpr int kSteps = kRows / kRowsAtATime;
  static_assert(kRows % kRowsAtATime == 0 && kColumns % 4 == 0);

public:
  static constexpr int kSharedWords = kColumns + 2;

  __device__ __forceinline__ SplitBlock(const SplitParameters& p, const SplitJob& job, Part part, int block,
                                        unsigned* shared)
      : p_(p),
        job_(job),
        part_(part),
        shared_(shared),
        head_(block / job.tiles),
        tile_(block % job.tiles),
        lane_(static_cast<int>(threadIdx.x) % kLanes),
        first_row_(static_cast<int>(threadIdx.x) / kLanes) {}

  __device__ __forceinline__ void run() {
    for (int i = static_cast<int>(threadIdx.x); i < kSharedWords; i += kSplitThreads) {
      shared_[i] = i == kLeastRow ? 0x7f800000U : 0U;
    }
    __syncthreads();
    load();
    if (part_ == Part::kQuery) {
      split_rows();
    } else {
      split_tile();
    }
  }

private:
  // Words of shared memory: the largest number of the tile, of its least row, and of each column.
  static constexpr int kLargest = 0;
  static constexpr int kLeastRow = 1;
  static constexpr int kColumn = 2;

  __device__ __forceinline__ int row_of(int step) const { return tile_ * kRows + first_row_ + step * kRowsAtATime; }
  __device__ __forceinline__ int column_of(int piece) const { return 4 * (lane_ + piece * kLanes); }
  __device__ __forceinline__ bool has_column(int piece) const {
    return kVectors % kLanes == 0 || column_of(piece) < kColumns;
  }

  __device__ __forceinline__ void load() {
    const float* const head = static_cast<const float*>(job_.source.data) +
                              head_ / job_.heads * job_.source.batch_stride +
                              head_ % job_.heads * job_.source.head_stride;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int row = row_of(step);
      const float* const from = head + row * job_.source.row_stride;
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
        const int column = column_of(piece);
        float(&to)[4] = numbers_[step][piece];
#pragma unroll
        for (int i = 0; i < 4; ++i) to[i] = 0.F;
        if (row >= job_.length) continue;
        if (job_.vectors) {
          if (column < job_.columns) {
            const float4 four = *reinterpret_cast<const float4*>(from + column);
            to[0] = four.x;
            to[1] = four.y;
            to[2] = four.z;
            to[3] = four.w;
          }
        } else {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (column + i < job_.columns) to[i] = from[column + i];
          }
        }
      }
    }
  }

  // The largest magnitude of a row and the sum of all, for each of its lanes. NaN counts as the largest of all numbers.
  __device__ __forceinline__ float2 facts_of_row(int step) const {
    unsigned largest = 0;
    float sum = 0.F;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float magnitude = fabsf(numbers_[step][piece][i]);
        largest = max(largest, __float_as_uint(magnitude));
        sum += magnitude;
      }
    }
#pragma unroll
    for (int distance = 1; distance < kLanes; distance *= 2) {
      largest = max(largest, __shfl_xor_sync(0xffffffffU, largest, distance));
      sum += __shfl_xor_sync(0xffffffffU, sum, distance);
    }
    return {__uint_as_float(largest), sum};
  }

  __device__ __forceinline__ void split_rows() {
    float largest = 0.F;
    float sum = 0.F;
    bool is_safe = true;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const float2 facts = facts_of_row(step);
      const float2 scales = scales_of(facts.x);
      is_safe = is_safe && is_in_range(facts.x);
      largest = fmaxf(largest, facts.x);
      sum = fmaxf(sum, facts.y);
      store(step, scales.x);
      if (lane_ == 0 && row_of(step) < job_.length) {
        job_.scales[static_cast<std::int64_t>(head_) * job_.length + row_of(step)] = scales.y;
      }
    }
    note(largest * p_.scale, sum * p_.scale, is_safe, &p_.facts->query_largest, &p_.facts->query_sum);
  }

  __device__ __forceinline__ void split_tile() {
    float least = CUDART_INF_F;
    float sum = 0.F;
    bool is_safe = true;
    float columns[kPieces][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const float2 facts = facts_of_row(step);
      is_safe = is_safe && is_in_range(facts.x);
      if (facts.x != 0.F) least = fminf(least, facts.x);
      sum = fmaxf(sum, facts.y);
#pragma unroll
      for (int piece = 0; piece < kPieces; ++piece) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          columns[piece][i] = fmaxf(columns[piece][i], fabsf(numbers_[step][piece][i]));
        }
      }
    }
    unsigned highest = 0;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      if (!has_column(piece)) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        atomicMax(shared_ + kColumn + column_of(piece) + i, __float_as_uint(columns[piece][i]));
        highest = max(highest, __float_as_uint(columns[piece][i]));
      }
    }
    highest = __reduce_max_sync(0xffffffffU, highest);
    const unsigned lowest = __reduce_min_sync(0xffffffffU, __float_as_uint(least));
    if (threadIdx.x % 32 == 0) {
      atomicMax(shared_ + kLargest, highest);
      atomicMin(shared_ + kLeastRow, lowest);
    }
    __syncthreads();
    const float largest = __uint_as_float(shared_[kLargest]);
    const float2 scales = scales_of(largest);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) store(step, scales.x);
    if (threadIdx.x == 0) job_.scales[static_cast<std::int64_t>(head_) * job_.tiles + tile_] = scales.y;
    if (part_ == Part::kKey) {
      note(largest, sum, is_safe, &p_.facts->key_largest, &p_.facts->key_sum);
      return;
    }
    const float bound = largest * kLeastShareOfTile;
    is_safe = is_safe && __uint_as_float(shared_[kLeastRow]) >= bound;
    for (int i = static_cast<int>(threadIdx.x); i < kColumns; i += kSplitThreads) {
      const float column = __uint_as_float(shared_[kColumn + i]);
      is_safe = is_safe && (column == 0.F || column >= bound);
    }
    if (!is_safe) p_.facts->is_unsafe = 1;
  }

  __device__ __forceinline__ void note(float largest, float sum, bool is_safe, unsigned* largest_fact,
                                       unsigned* sum_fact) const {
    if (!is_safe) p_.facts->is_unsafe = 1;
    const unsigned of_warp[2] = {__reduce_max_sync(0xffffffffU, __float_as_uint(largest)),
                                 __reduce_max_sync(0xffffffffU, __float_as_uint(sum))};
    if (threadIdx.x % 32 != 0) return;
    raise(largest_fact, of_warp[0]);
    raise(sum_fact, of_warp[1]);
  }

  __device__ __forceinline__ void store(int step, float scale) const {
    const int row = row_of(step);
    if (row >= job_.length) return;
    std::uint16_t* const to = job_.halves + (static_cast<std::int64_t>(head_) * job_.length + row) * (2 * kColumns);
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      if (!has_column(piece)) continue;
      std::uint32_t high[2];
      std::uint32_t low[2];
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        const float a = numbers_[step][piece][2 * pair] * scale;
        const float b = numbers_[step][piece][2 * pair + 1] * scale;
        high[pair] = ptx::pack<__half>(a, b);
        const float2 rounded = ptx::unpack<__half>(high[pair]);
        low[pair] = ptx::pack<__half>(a - rounded.x, b - rounded.y);
      }
      *reinterpret_cast<uint2*>(to + column_of(piece)) = make_uint2(high[0], high[1]);
      *reinterpret_cast<uint2*>(to + kColumns + column_of(piece)) = make_uint2(low[0], low[1]);
    }
  }

  const SplitParameters& p_;
  const SplitJob& job_;
  Part part_;
  unsigned* shared_;
  int head_;  // counted through all batches
  int tile_;
  int lane_;  // of those that share a row
  int first_row_;
  float numbers_[kSteps][kPieces][4];
};

template <int kColumns, int kRows>
__global__ void __launch_bounds__(kSplitThreads) split_operands_kernel(const __grid_constant__ SplitParameters p) {
  using Block = SplitBlock<kColumns, kRows>;
  __shared__ unsigned shared[Block::kSharedWords];
  const int block = static_cast<int>(blockIdx.x);
  const int part = block < p.jobs[0].end ? 0 : block < p.jobs[1].end ? 1 : 2;
  const int first = part == 0 ? 0 : p.jobs[part - 1].end;
  Block(p, p.jobs[part], static_cast<Part>(part), block - first, shared).run();
}

}  // namespace flashconvert::kernels::fp16x3
