// See linear_case.h.
#include "linear_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "linear/dispatch.h"
#include "parallel.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

std::string describe(const LinearCase& test) {
  return "M " + std::to_string(test.rows) + " K " + std::to_string(test.in_features) + " N " +
         std::to_string(test.out_features) + " activation " + std::to_string(static_cast<int>(test.activation)) +
         " padding " + std::to_string(test.padding) + (test.input_by_columns ? " input by columns" : "") +
         (test.weight_by_columns ? " weight by columns" : "");
}

Matrix floats_of(const std::vector<unsigned char>& bytes) {
  Matrix values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return 0.5 * x * (1. + std::erf(x * std::sqrt(0.5)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1. + std::tanh(std::sqrt(2. / std::acos(-1.)) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x < 0. ? 0. : x;
    case Activation::kSilu:
      return x / (1. + std::exp(-x));
    default:
      return x;
  }
}

struct Errors {
  double mean = 0.;
  double largest = 0.;
};

template <class Values>
Errors errors_of(const Values& values, const std::vector<double>& exact) {
  Errors errors;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    if (!std::isfinite(exact[i])) continue;
    const double error = std::abs(static_cast<double>(values[i]) - exact[i]);
    errors.mean += error / static_cast<double>(exact.size());
    errors.largest = std::max(errors.largest, error);
  }
  return errors;
}

}  // namespace

LinearCase sized(std::int64_t rows, std::int64_t in_features, std::int64_t out_features) {
  LinearCase test;
  test.rows = rows;
  test.in_features = in_features;
  test.out_features = out_features;
  return test;
}

std::vector<unsigned char> bytes_of(const Matrix& values) {
  std::vector<unsigned char> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

LinearOperand::LinearOperand(std::int64_t rows, std::int64_t columns, bool by_columns, std::int64_t padding,
                             std::uint32_t seed, const std::function<float(std::int64_t, std::int64_t, float)>& make)
    : row_stride(by_columns ? 1 : columns + padding), column_stride(by_columns ? rows + padding : 1) {
  host.assign(static_cast<std::size_t>(by_columns ? (rows + padding) * columns : (columns + padding) * rows),
              std::numeric_limits<float>::quiet_NaN());
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) at(row, column) = make(row, column, normal(random));
  }
  device = std::make_unique<Buffer>(bytes_of(host));
}

PlacedLinear::PlacedLinear(const LinearCase& test)
    : test_(test),
      input_(test.rows, test.in_features, test.input_by_columns, test.padding, 1, test.input),
      weight_(test.out_features, test.in_features, test.weight_by_columns, test.padding, 2, test.weight),
      bias_(1, test.out_features, false, 0, 3, LinearCase().input),
      output_(static_cast<std::size_t>(test.rows * test.out_features) * sizeof(float)) {
  problem_.rows = test.rows;
  problem_.in_features = test.in_features;
  problem_.out_features = test.out_features;
  problem_.input = input_.view();
  problem_.weight = weight_.view();
  problem_.bias = test.has_bias ? bias_.view().data : nullptr;
  problem_.activation = test.activation;
  problem_.output = reinterpret_cast<float*>(output_.at(0));
  problem_.output_row_stride = test.out_features;
}

std::vector<const char*> PlacedLinear::kernels() const {
  return kernels_that_take(problem_, device_compute_capability());
}

void PlacedLinear::start(const char* kernel, const Buffer& workspace, const Stream& stream) const {
  REQUIRE(linear_forward_with(kernel, problem_, workspace.at(0), stream.handle()) == 0);
}
std::size_t PlacedLinear::workspace_bytes(const char* kernel) const {
  return workspace_bytes_with(kernel, problem_, device_compute_capability());
}

Matrix PlacedLinear::run(const char* kernel) {
  const Buffer workspace(workspace_bytes(kernel));
  const Stream stream;
  output_.poison();
  start(kernel, workspace, stream);
  stream.wait(describe(test_) + ", " + kernel);
  CHECK(output_.guards_are_intact());
  CHECK(workspace.guards_are_intact());
  return floats_of(output_.download());
}

void PlacedLinear::poison() { output_.poison(); }
Matrix PlacedLinear::output() const { return floats_of(output_.download()); }

void PlacedLinear::reference(std::vector<double>& exact, std::vector<double>& plain) const {
  exact.resize(static_cast<std::size_t>(test_.rows * test_.out_features));
  plain.resize(exact.size());
  in_parallel(test_.rows, [&](std::int64_t row) {
    for (std::int64_t column = 0; column < test_.out_features; ++column) {
      double sum = 0.;
      float rounded = 0.F;
      for (std::int64_t k = 0; k < test_.in_features; ++k) {
        sum += static_cast<double>(input_.at(row, k)) * static_cast<double>(weight_.at(column, k));
        rounded = std::fma(input_.at(row, k), weight_.at(column, k), rounded);
      }
      const auto index = static_cast<std::size_t>(row * test_.out_features + column);
      exact[index] = finish(sum, column);
      plain[index] = finish(static_cast<double>(rounded), column);
    }
  });
}

double PlacedLinear::finish(double sum, std::int64_t column) const {
  if (test_.has_bias) sum += static_cast<double>(bias_.at(0, column));
  return activate(test_.activation, sum);
}

void expect_pass(const LinearCase& test) {
  PlacedLinear placed(test);
  std::vector<double> exact;
  std::vector<double> plain;
  placed.reference(exact, plain);
  Errors unit;
  for (const double value : exact) {
    if (!std::isfinite(value)) continue;
    unit.mean += std::abs(value) * 0x1p-24 / static_cast<double>(exact.size());
    unit.largest = std::max(unit.largest, std::abs(value) * 0x1p-24);
  }
  const Errors allowed = errors_of(plain, exact);
  for (const char* kernel : placed.kernels()) {
    INFO(describe(test) << ", " << kernel);
    const Matrix result = placed.run(kernel);
    std::size_t misplaced = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double rounded = static_cast<double>(static_cast<float>(exact[i]));
      const bool same = std::isfinite(rounded) ? std::isfinite(result[i])
                        : std::isnan(rounded)  ? std::isnan(result[i])
                                               : static_cast<double>(result[i]) == rounded;
      if (!same) ++misplaced;
    }
    CHECK(misplaced == 0);
    const Errors errors = errors_of(result, exact);
    CHECK(errors.mean <= test.plain_errors * allowed.mean + unit.mean);
    CHECK(errors.largest <= test.plain_errors * allowed.largest + unit.largest);
    CHECK(bytes_of(placed.run(kernel)) == bytes_of(result));
  }
}

}  // namespace flashconvert::kernels::testing
