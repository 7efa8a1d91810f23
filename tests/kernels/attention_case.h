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

  double logit_size = 1;  // standard deviation of query and key
  bool infinite_values = false;
  std::uint32_t seed = 1;
};

// A sentence that names the case in a failure.
std::string describe(const AttentionCase& test);

// Results as float64 in [B, H, Lq, Dv] order.
struct Expected {
  std::vector<double> exact;  // float64 throughout, on the rounded operands
  std::vector<double> naive;  // softmax(QK)V in the case's dtype: scores, weights and result rounded to it
};

// Host copies of the operands, in the strides that the kernel will see; bytes, because the dtype is data here.
struct Operand {
  std::vector<unsigned char> bytes;
  std::vector<float> values;  // the same elements, decoded
  std::int64_t first = 0;     // offset of the first element, in elements
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
Expected make_expected(const AttentionCase& test, const HostProblem& host);

// Reads a stored element of `dtype` as float64, and rounds a number as storing it would.
double load_element(DType dtype, const unsigned char* bytes, std::int64_t index);
void store_element(DType dtype, unsigned char* bytes, std::int64_t index, double value);
double rounded(DType dtype, double value);
std::int64_t element_bytes(DType dtype);

}  // namespace flashconvert::kernels::testing
