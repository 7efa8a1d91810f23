// The expected results: softmax(QK + bias)V in float64, and the same computed naively in the operands' own dtype, whose
// error against float64 is the yardstick for the kernels' error.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "attention_case.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// How one of the two references computes: in which type sums run and what is rounded when it is stored.
struct Exact {
  using Number = double;
  static double stored(DType /*dtype*/, double value) { return value; }
};
struct Naive {
  using Number = float;
  static float stored(DType dtype, float value) { return static_cast<float>(rounded(dtype, value)); }
};

struct Row {
  const AttentionCase& test;
  const HostProblem& host;
  std::int64_t batch, head, query;

  double element(const TensorView& view, const Operand& operand, std::int64_t of_head, std::int64_t row,
                 std::int64_t column) const {
    return operand.values[static_cast<std::size_t>(operand.first + batch * view.batch_stride +
                                                   of_head * view.head_stride + row * view.row_stride + column)];
  }

  bool in_window(std::int64_t key) const {
    const std::int64_t offset = key - query - test.diagonal;
    return (test.window_left < 0 || offset >= -test.window_left) &&
           (test.window_right < 0 || offset <= test.window_right);
  }

  // The score with its bias; -inf where the key is hidden.
  double with_bias(double score, std::int64_t key) const {
    const BiasView& view = host.problem.bias;
    if (view.kind != BiasKind::kNone) {
      const std::int64_t index = batch / view.batch_inner * view.outer_batch_stride +
                                 batch % view.batch_inner * view.inner_batch_stride + head * view.head_stride +
                                 query * view.row_stride + key * view.column_stride;
      if (view.kind == BiasKind::kBoolean) {
        if (host.bias.bytes[static_cast<std::size_t>(index)] == 0) score = -kInfinity;
      } else {
        score += host.bias.values[static_cast<std::size_t>(index)];
      }
    }
    return in_window(key) ? score : -kInfinity;
  }

  // Writes the row's `value_dim` results.
  template <class Arithmetic>
  void compute(double* result) const {
    using Number = typename Arithmetic::Number;
    const std::int64_t key_head = head / (test.heads / test.key_heads);
    std::vector<Number> query_row(static_cast<std::size_t>(test.head_dim));
    for (std::int64_t d = 0; d < test.head_dim; ++d) {
      const auto value = static_cast<Number>(element(host.problem.query, host.query, head, query, d));
      query_row[static_cast<std::size_t>(d)] = Arithmetic::stored(test.dtype, value * static_cast<Number>(test.scale));
    }
    std::vector<Number> weights(static_cast<std::size_t>(test.key_length));
    Number highest = -std::numeric_limits<Number>::infinity();
    for (std::int64_t j = 0; j < test.key_length; ++j) {
      Number score = 0;
      for (std::int64_t d = 0; d < test.head_dim; ++d) {
        score += query_row[static_cast<std::size_t>(d)] *
                 static_cast<Number>(element(host.problem.key, host.key, key_head, j, d));
      }
      score = Arithmetic::stored(test.dtype, score);
      if (test.softcap > 0) {
        const auto cap = static_cast<Number>(test.softcap);
        score = Arithmetic::stored(test.dtype, cap * std::tanh(score / cap));
      }
      score = static_cast<Number>(with_bias(score, j));
      if (test.bias_kind != BiasKind::kFloat32) score = Arithmetic::stored(test.dtype, score);
      weights[static_cast<std::size_t>(j)] = score;
      highest = std::max(highest, score);
    }
    Number total = 0;
    for (Number& weight : weights) total += weight = std::exp(weight - highest);
    const bool empty = highest == -std::numeric_limits<Number>::infinity();
    for (std::int64_t d = 0; d < test.value_dim; ++d) {
      Number sum = 0;
      for (std::int64_t j = 0; j < test.key_length; ++j) {
        const Number weight = Arithmetic::stored(test.dtype, weights[static_cast<std::size_t>(j)] / total);
        sum += weight * static_cast<Number>(element(host.problem.value, host.value, key_head, j, d));
      }
      if (empty && (test.zero_masked_rows || test.key_length == 0)) sum = 0;
      result[d] = Arithmetic::stored(test.dtype, sum);
    }
  }
};

}  // namespace

Expected make_expected(const AttentionCase& test, const HostProblem& host) {
  const std::int64_t rows = test.batch * test.heads * test.query_length;
  Expected expected;
  expected.exact.resize(static_cast<std::size_t>(rows * test.value_dim));
  expected.naive.resize(expected.exact.size());

  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t index = next++; index < rows; index = next++) {
      const std::int64_t flat_head = index / test.query_length;
      const Row row = {test, host, flat_head / test.heads, flat_head % test.heads, index % test.query_length};
      row.compute<Exact>(expected.exact.data() + index * test.value_dim);
      row.compute<Naive>(expected.naive.data() + index * test.value_dim);
    }
  };
  std::vector<std::thread> threads(std::max(1U, std::thread::hardware_concurrency()));
  for (std::thread& thread : threads) thread = std::thread(work);
  for (std::thread& thread : threads) thread.join();
  return expected;
}

}  // namespace flashconvert::kernels::testing
