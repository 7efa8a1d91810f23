// The acceptance rule: see compare.h.
#include "compare.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace flashconvert::kernels::testing {
namespace {

// Half a unit in the last place; for float32 a whole one, since its operands enter the products in two parts of 11
// bits.
double rounding_unit(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
      return std::ldexp(1.0, -11);
    case DType::kBFloat16:
      return std::ldexp(1.0, -8);
    case DType::kFloat32:
      return std::ldexp(1.0, -23);
  }
  return 0;
}

struct ErrorStatistics {
  double largest = 0;
  double mean = 0;
  std::size_t worst = 0;
};

ErrorStatistics error_of(const std::vector<double>& values, const std::vector<double>& exact) {
  ErrorStatistics statistics;
  std::size_t count = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    if (!std::isfinite(exact[i]) || !std::isfinite(values[i])) continue;
    const double error = std::abs(values[i] - exact[i]);
    statistics.mean += error;
    ++count;
    if (error > statistics.largest) {
      statistics.largest = error;
      statistics.worst = i;
    }
  }
  if (count != 0) statistics.mean /= static_cast<double>(count);
  return statistics;
}

bool same_kind(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return true;
}

double share_of(double error, double allowed) { return error == 0 ? 0 : error / allowed; }

}  // namespace

Judge::Judge(const AttentionCase& test, const Expected& expected) : test_(test), exact_(expected.exact) {
  double largest_result = 0;
  for (const double value : exact_) {
    if (std::isfinite(value)) largest_result = std::max(largest_result, std::abs(value));
  }
  const double unit = rounding_unit(test.dtype) * largest_result;
  const ErrorStatistics naive = error_of(expected.naive, exact_);
  naive_largest_ = naive.largest;
  allowed_largest_ = 2 * naive.largest + unit;
  naive_mean_ = naive.mean;
  allowed_mean_ = 2 * naive.mean + 0.1 * unit;
}

Verdict Judge::operator()(const std::vector<double>& actual) const {
  if (actual.size() != exact_.size()) return {"wrong number of results"};
  std::ostringstream fault;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (same_kind(exact_[i], actual[i])) continue;
    fault << place(i) << " is " << actual[i] << " instead of " << exact_[i];
    return {fault.str()};
  }
  const ErrorStatistics ours = error_of(actual, exact_);
  Verdict verdict;
  verdict.largest_share = share_of(ours.largest, allowed_largest_);
  verdict.mean_share = share_of(ours.mean, allowed_mean_);
  if (!(verdict.largest_share <= 1)) {
    fault << "largest error " << ours.largest << " at " << place(ours.worst) << " (" << actual[ours.worst]
          << " instead of " << exact_[ours.worst] << "), naive " << naive_largest_;
  } else if (!(verdict.mean_share <= 1)) {
    fault << "mean error " << ours.mean << ", naive " << naive_mean_;
  }
  verdict.fault = fault.str();
  return verdict;
}

std::string Judge::place(std::size_t index) const {
  const auto flat = static_cast<std::int64_t>(index);
  const std::int64_t row = compared_rows(test_)[static_cast<std::size_t>(flat / test_.value_dim)];
  const std::int64_t head = row / test_.query_length;
  std::ostringstream text;
  text << "[" << head / test_.heads << ", " << head % test_.heads << ", " << row % test_.query_length << ", "
       << flat % test_.value_dim << "]";
  return text.str();
}

}  // namespace flashconvert::kernels::testing
