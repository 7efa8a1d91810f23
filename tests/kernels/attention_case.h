// One case of the kernel tests: sizes, layout, bias and options as data, from which operands, the expected result and
// the launch are made.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "flashconvert/kernels/attention.h"

namespace flashconvert::kernels::testing {

enum class Layout {
  kBHLD,       // [batch, heads, length, features], contiguous
  kBLHD,       // [batch, length, heads, features] in memory, as a projection leaves it
  kPackedQKV,  // query, key and value interleaved in one buffer (equal lengths and head counts only)
  kSpread,     // kBHLD with gaps of a multiple of 16 bytes between rows, heads and batches
  kBroadcast,  // kBLHD, and every batch reads the same keys and values (a stride of 0)
  kUnaligned,  // kBHLD in rows of an odd length that start at an odd element
};

enum class BiasShape {
  kFull,        // [B, H, Lq, Lk]
  kPerHead,     // [1, H, Lq, Lk]
  kKeyPadding,  // [B, 1, 1, Lk]
  kPerQuery,    // [1, 1, Lq, 1]: a column stride of 0
  kWindowed,    // [1, 2 windows, 1, Lq, Lk] beside a batch of images * windows (batch_inner)
  kTransposed,  // [1, H, Lq, Lk] with the columns strided
};

// What is in the operands.
enum class Numbers {
  kRandom,          // normal; query and key with the deviation `logit_size`
  kEqualScores,     // every key of a query has the score scale * `score_size` * head_dim, positive or negative by row
  kOppositeScores,  // that score, of either sign in turn
  kSlopingScores,   // from 0 to half that score along the keys, up or down and above or below 0 by the query's row
  kInfiniteValues,  // random, with some infinities in one row of V
  kNaNQuery,        // random, one query row is NaN
  kNaNKey,          // random, one key row is NaN
  // float32 alone:
  kWideRows,        // query and key features of 1e15 and 1e-15 in turn, so that their products are random
  kWideTensor,      // rows of V times 1e30, 1e-30 and 1 in turn
  kDenormal,        // every third element a denormal number
  kHugeKey,         // one key and its values a thousand times as large
  kRowsOfAllSizes,  // rows of query and key from 1e-6 to 1e6, and features of V up to a hundred times as large
  kPositiveValues,  // V between 0 and 1
  kCancelling,      // V of either sign in turn, nearly the same size
};

struct AttentionCase {
  DType dtype = DType::kFloat16;
  std::int64_t batch = 2;
  std::int64_t heads = 2;
  std::int64_t key_heads = 2;
  std::int64_t query_length = 64;
  std::int64_t key_length = 64;
  std::int64_t head_dim = 64;
  std::int64_t value_dim = 64;
  Layout layout = Layout::kBLHD;
  bool odd_unused_strides = false;  // strides of extents of 1, which mean nothing, are odd numbers

  BiasKind bias_kind = BiasKind::kNone;
  BiasShape bias_shape = BiasShape::kFull;
  double hidden_share = 0.2;  // of the bias: elements that are false, or `hidden_value`
  float hidden_value = -std::numeric_limits<float>::infinity();
  bool hide_some_rows_whole = false;

  double scale = 0.125;
  double softcap = 0;
  std::int64_t window_left = -1;
  std::int64_t window_right = -1;
  std::int64_t diagonal = 0;
  bool zero_masked_rows = false;

  Numbers numbers = Numbers::kRandom;
  double logit_size = 1;  // standard deviation of query and key
  double score_size = 1;
  std::uint32_t seed = 1;

  // Large cases: this many rows of the result, spread over all of it, are compared (0: all), and operands repeat after
  // so many elements (0: never), so that the host need not hold them.
  std::int64_t sampled_rows = 0;
  std::int64_t period = 0;
};

// A sentence that names the case in a failure.
std::string describe(const AttentionCase& test);

// The rows of the result that are compared, as (batch * heads + head) * query_length + query.
std::vector<std::int64_t> compared_rows(const AttentionCase& test);

// Host copies of the operands, in the strides that the kernel will see; bytes, because the dtype is data here.
struct Operand {
  std::vector<unsigned char> bytes;
  std::vector<float> values;  // the same elements, decoded
  std::int64_t first = 0;     // offset of the first element, in elements
  std::int64_t elements = 0;  // on the device: more than `values` has where they repeat

  float at(std::int64_t index) const {
    const auto place = static_cast<std::size_t>(index);
    return values[place < values.size() ? place : place % values.size()];
  }
};

// Everything about one case on the host: `problem` has offsets and strides filled in, and null pointers.
struct HostProblem {
  AttentionProblem problem;
  Operand query;
  Operand key;
  Operand value;
  Operand bias;
  std::int64_t output_elements = 0;
  std::int64_t output_first = 0;
};

HostProblem make_problem(const AttentionCase& test);

// Results as float64, the compared rows one after the other.
struct Expected {
  std::vector<double> exact;  // float64 throughout, on the rounded operands
  std::vector<double> naive;  // softmax(QK)V in the case's dtype: scores, weights and result rounded to it
};

Expected make_expected(const AttentionCase& test, const HostProblem& host);

}  // namespace flashconvert::kernels::testing
