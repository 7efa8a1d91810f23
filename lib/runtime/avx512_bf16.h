// Attention in bfloat16 with the AVX512-BF16 instructions of x86: torch's flash attention for the CPU uses them in no
// matrix product. Plain pointers and strides, nothing of torch.
#pragma once

#include <cstdint>

namespace flashconvert::runtime::avx512_bf16 {

// Strides are in elements, 0 where a dimension is broadcast. The features of a row adjoin.
template <typename Element>
struct Rows {
  Element* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
};

enum class BiasType { kNone, kBoolean, kBfloat16, kFloat32 };

struct Bias {
  BiasType type = BiasType::kNone;
  Rows<const void> queries;
  std::int64_t key_stride = 0;
};

// Elements are the bits of bfloat16 numbers.
struct Attention {
  std::int64_t batch = 0;
  std::int64_t key_heads = 0;
  std::int64_t group = 0;  // query heads of each key head
  std::int64_t query_length = 0;
  std::int64_t key_length = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;

  Rows<const std::uint16_t> query;
  Rows<const std::uint16_t> key;
  Rows<const std::uint16_t> value;
  Rows<std::uint16_t> output;
  Bias bias;

  float scale = 1.F;
  float softcap = 0.F;  // 0: none
  // Query i sees the keys from i + first_key to before i + end_key.
  std::int64_t first_key = 0;
  std::int64_t end_key = 0;
  bool zero_masked_rows = false;  // rows in which every key is masked are zeros, else NaN
};

// The work falls into this many independent pieces: blocks of the queries that share a key head. Neighbours share
// packed keys and values when one call of `compute` takes them.
std::int64_t count_pieces(const Attention& attention);

// Multiplications of one piece, for deciding how many threads are worth waking.
std::int64_t work_of_piece(const Attention& attention);

// Computes pieces `begin` to before `end`. Different pieces may be computed by different threads. The result does not
// depend on how the pieces are divided. Needs the instructions (processor.h).
void compute(const Attention& attention, std::int64_t begin, std::int64_t end);

}  // namespace flashconvert::runtime::avx512_bf16
