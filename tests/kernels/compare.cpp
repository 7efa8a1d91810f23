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

std::string place(const AttentionCase& test, std::size_t index) {
  const auto flat = static_cast<std::int64_t>(index);
  const std::int64_t row = flat / test.value_dim;
  const std::int64_t head = row / test.query_length;
  std::ostringstream text;
  text << "[" << head / test.heads << ", " << head % test.heads << ", " << row % test.query_length << ", "
       << flat % test.value_dim << "]";
  return text.str();
}

}  // namespace

std::string find_fault(const AttentionCase& test, const Expected& expected, const std::vector<double>& actual) {
  std::ostringstream fault;
  if (actual.size() != expected.exact.size()) return "wrong number of results";
  double largest_result = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!same_kind(expected.exact[i], actual[i])) {
      fault << place(test, i) << " is " << actual[i] << " instead of " << expected.exact[i];
      return fault.str();
    }
    if (std::isfinite(expected.exact[i])) largest_result = std::max(largest_result, std::abs(expected.exact[i]));
  }
  const ErrorStatistics ours = error_of(actual, expected.exact);
  const ErrorStatistics naive = error_of(expected.naive, expected.exact);
  const double unit = rounding_unit(test.dtype) * largest_result;
  if (!(ours.largest <= 2 * naive.largest + unit)) {
    fault << "largest error " << ours.largest << " at " << place(test, ours.worst) << " (" << actual[ours.worst]
          << " instead of " << expected.exact[ours.worst] << "), naive " << naive.largest;
    return fault.str();
  }
  if (!(ours.mean <= 2 * naive.mean + 0.1 * unit)) {
    fault << "mean error " << ours.mean << ", naive " << naive.mean;
    return fault.str();
  }
  return "";
}

}  // namespace flashconvert::kernels::testing
