// The expected results: softmax(QK + bias)V in float64, and the same computed naively in the operands' own dtype, whose
// error against float64 is the yardstick for the kernels' error. Loops run along keys, or along features, in memory
// order, so that the compiler can vectorise them without reordering a sum.
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention_case.h"
#include "number_formats.h"
#include "parallel.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

// How one of the two references computes: in which type sums run and what is rounded when it is stored.
struct Exact {
  using Number = double;
  static double stored(DType /*dtype*/, double value) { return value; }
};
struct Naive {
  using Number = float;
  static float stored(DType dtype, float value) { return static_cast<float>(rounded(dtype, value)); }
};

// One head's keys and values as the loops read them.
class Head {
public:
  Head(const AttentionCase& test, const HostProblem& host, std::int64_t batch, std::int64_t head)
      : test_(test),
        host_(host),
        batch_(batch),
        head_(head),
        keys_(static_cast<std::size_t>(test.key_length * test.head_dim)),
        values_(static_cast<std::size_t>(test.key_length * test.value_dim)) {
    const std::int64_t key_head = head / (test.heads / test.key_heads);
    const std::int64_t first_key = first_element(host.key, host.problem.key, key_head);
    const std::int64_t first_value = first_element(host.value, host.problem.value, key_head);
    for (std::int64_t j = 0; j < test.key_length; ++j) {
      for (std::int64_t d = 0; d < test.head_dim; ++d) {
        keys_[index(d * test.key_length + j)] = host.key.at(first_key + j * host.problem.key.row_stride + d);
      }
      for (std::int64_t d = 0; d < test.value_dim; ++d) {
        values_[index(j * test.value_dim + d)] = host.value.at(first_value + j * host.problem.value.row_stride + d);
      }
    }
  }

  // Writes the `value_dim` results of one query.
  template <class Arithmetic>
  void compute(std::int64_t query, double* result) const {
    using Number = typename Arithmetic::Number;
    std::vector<Number> weights = scores<Arithmetic>(query);
    Number highest = -std::numeric_limits<Number>::infinity();
    bool has_nan = false;
    for (const Number score : weights) {
      highest = std::max(highest, score);
      has_nan = has_nan || std::isnan(score);
    }
    Number total = 0;
    for (Number& weight : weights) total += weight = std::exp(weight - highest);
    std::vector<Number> sums(index(test_.value_dim));
    for (std::int64_t j = 0; j < test_.key_length; ++j) {
      const Number weight = Arithmetic::stored(test_.dtype, weights[index(j)] / total);
      const float* value = values_.data() + j * test_.value_dim;
      for (std::size_t d = 0; d < sums.size(); ++d) sums[d] += weight * static_cast<Number>(value[d]);
    }
    const bool empty = !has_nan && highest == -std::numeric_limits<Number>::infinity();
    const bool zero = empty && (test_.zero_masked_rows || test_.key_length == 0);
    for (std::size_t d = 0; d < sums.size(); ++d) result[d] = zero ? 0 : Arithmetic::stored(test_.dtype, sums[d]);
  }

private:
  static std::size_t index(std::int64_t place) { return static_cast<std::size_t>(place); }

  std::int64_t first_element(const Operand& operand, const TensorView& view, std::int64_t of_head) const {
    return operand.first + batch_ * view.batch_stride + of_head * view.head_stride;
  }

  // A query's scores, the bias added and hidden keys at -inf.
  template <class Arithmetic>
  std::vector<typename Arithmetic::Number> scores(std::int64_t query) const {
    using Number = typename Arithmetic::Number;
    const TensorView& view = host_.problem.query;
    const std::int64_t first = first_element(host_.query, view, head_) + query * view.row_stride;
    std::vector<Number> result(index(test_.key_length));
    for (std::int64_t d = 0; d < test_.head_dim; ++d) {
      const auto element = static_cast<Number>(host_.query.at(first + d));
      const Number scaled = Arithmetic::stored(test_.dtype, element * static_cast<Number>(test_.scale));
      const float* key = keys_.data() + d * test_.key_length;
      for (std::size_t j = 0; j < result.size(); ++j) result[j] += scaled * static_cast<Number>(key[j]);
    }
    for (std::int64_t j = 0; j < test_.key_length; ++j) {
      Number score = Arithmetic::stored(test_.dtype, result[index(j)]);
      if (test_.softcap > 0) {
        const auto cap = static_cast<Number>(test_.softcap);
        score = Arithmetic::stored(test_.dtype, cap * std::tanh(score / cap));
      }
      score = static_cast<Number>(with_bias(score, query, j));
      if (test_.bias_kind != BiasKind::kFloat32) score = Arithmetic::stored(test_.dtype, score);
      result[index(j)] = score;
    }
    return result;
  }

  double with_bias(double score, std::int64_t query, std::int64_t key) const {
    const BiasView& view = host_.problem.bias;
    if (view.kind != BiasKind::kNone) {
      const std::int64_t place = batch_ / view.batch_inner * view.outer_batch_stride +
                                 batch_ % view.batch_inner * view.inner_batch_stride + head_ * view.head_stride +
                                 query * view.row_stride + key * view.column_stride;
      if (view.kind == BiasKind::kBoolean) {
        if (host_.bias.bytes[index(place)] == 0) score = kMinusInfinity;
      } else {
        score += host_.bias.values[index(place)];
      }
    }
    if (!in_window(query, key)) return kMinusInfinity;
    return score;
  }

  bool in_window(std::int64_t query, std::int64_t key) const {
    const std::int64_t offset = key - query - test_.diagonal;
    return (test_.window_left < 0 || offset >= -test_.window_left) &&
           (test_.window_right < 0 || offset <= test_.window_right);
  }

  const AttentionCase& test_;
  const HostProblem& host_;
  std::int64_t batch_, head_;
  std::vector<float> keys_;    // [features, keys]
  std::vector<float> values_;  // [keys, features]
};

// Rows of one head that one thread computes.
struct Task {
  std::size_t first, last;
};

std::vector<Task> split(const std::vector<std::int64_t>& rows, std::int64_t query_length) {
  constexpr std::size_t kMostRows = 32;
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool same_head = !tasks.empty() && rows[tasks.back().first] / query_length == rows[i] / query_length;
    if (same_head && i - tasks.back().first < kMostRows) {
      tasks.back().last = i + 1;
    } else {
      tasks.push_back({i, i + 1});
    }
  }
  return tasks;
}

}  // namespace

Expected make_expected(const AttentionCase& test, const HostProblem& host) {
  const std::vector<std::int64_t> rows = compared_rows(test);
  const auto value_dim = static_cast<std::size_t>(test.value_dim);
  Expected expected;
  expected.exact.resize(rows.size() * value_dim);
  expected.naive.resize(expected.exact.size());
  const std::vector<Task> tasks = split(rows, test.query_length);
  in_parallel(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t number) {
    const Task task = tasks[static_cast<std::size_t>(number)];
    const std::int64_t flat_head = rows[task.first] / test.query_length;
    const Head head(test, host, flat_head / test.heads, flat_head % test.heads);
    for (std::size_t i = task.first; i < task.last; ++i) {
      const std::int64_t query = rows[i] % test.query_length;
      head.compute<Exact>(query, expected.exact.data() + i * value_dim);
      head.compute<Naive>(query, expected.naive.data() + i * value_dim);
    }
  });
  return expected;
}

}  // namespace flashconvert::kernels::testing
