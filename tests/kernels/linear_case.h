// A linear layer to test: its operands on the host and on the device, and what must come out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "flashconvert/kernels/linear.h"

namespace flashconvert::kernels::testing {

using Matrix = std::vector<float>;

struct LinearCase {
  std::int64_t rows = 0;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  // Element (i, k) of an operand from a random number; the default is the number itself.
  std::function<float(std::int64_t, std::int64_t, float)> input = [](std::int64_t, std::int64_t, float x) { return x; };
  std::function<float(std::int64_t, std::int64_t, float)> weight = [](std::int64_t, std::int64_t, float x) {
    return x;
  };
  bool has_bias = true;
  Activation activation = Activation::kNone;
  bool input_by_columns = false;  // strides (1, rows) instead of (in_features, 1)
  bool weight_by_columns = false;
  std::int64_t padding = 0;  // elements more from one row to the next
  // How often the error of a plain float32 sum is allowed. More than once where terms cancel as they come: a plain sum
  // then rounds small numbers, and what remains is the rounding of the halves (docs/kernels/fp32.md).
  double plain_errors = 1.;
};

LinearCase sized(std::int64_t rows, std::int64_t in_features, std::int64_t out_features);

std::vector<unsigned char> bytes_of(const Matrix& values);

// Values in the layout that a case asks for, on the host and on the device.
struct LinearOperand {
  LinearOperand(std::int64_t rows, std::int64_t columns, bool by_columns, std::int64_t padding, std::uint32_t seed,
                const std::function<float(std::int64_t, std::int64_t, float)>& make);

  float& at(std::int64_t row, std::int64_t column) {
    return host[static_cast<std::size_t>(row * row_stride + column * column_stride)];
  }
  float at(std::int64_t row, std::int64_t column) const {
    return host[static_cast<std::size_t>(row * row_stride + column * column_stride)];
  }
  MatrixView view() const { return {reinterpret_cast<const float*>(device->at(0)), row_stride, column_stride}; }

  std::int64_t row_stride;
  std::int64_t column_stride;
  Matrix host;
  std::unique_ptr<Buffer> device;
};

class PlacedLinear {
public:
  explicit PlacedLinear(const LinearCase& test);

  // Of all that take it.
  std::vector<const char*> kernels() const;

  void start(const char* kernel, const Buffer& workspace, const Stream& stream) const;
  std::size_t workspace_bytes(const char* kernel) const;
  Matrix run(const char* kernel);
  Matrix output() const;
  void poison();  // the output: NaN everywhere

  // Exact results, and those of a plain sum in float32.
  void reference(std::vector<double>& exact, std::vector<double>& plain) const;

private:
  double finish(double sum, std::int64_t column) const;

  LinearCase test_;
  LinearOperand input_;
  LinearOperand weight_;
  LinearOperand bias_;
  Buffer output_;
  LinearProblem problem_;
};

// Runs the case on every kernel that takes it. Results pass when NaN and infinities are where they belong, and the
// errors are at most those of a plain float32 sum and half a unit in the last place: of the results' mean magnitude for
// the mean, of the largest for the largest.
void expect_pass(const LinearCase& test);

}  // namespace flashconvert::kernels::testing
