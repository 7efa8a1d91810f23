// A case's operands in its layout, everything between their rows poisoned with NaN.
#pragma once

#include <random>

#include "attention_case.h"

namespace flashconvert::kernels::testing {

enum class Role { kQuery, kKey, kValue, kOutput };

// Where [batch, heads, length, features] lies in a buffer, in elements.
struct Strided {
  std::int64_t first = 0;
  std::int64_t batch = 0;
  std::int64_t head = 0;
  std::int64_t row = 0;
  std::int64_t elements = 0;  // of the buffer
};

Strided strides_of(const AttentionCase& test, Role role);

class OperandMaker {
public:
  explicit OperandMaker(const AttentionCase& test) : test_(test), random_(test.seed) {}

  Operand make(Role role, TensorView& view);
  Operand make_bias(BiasView& view);

private:
  Operand make_periodic(std::int64_t elements, double deviation);
  double number(Role role, std::int64_t row, std::int64_t feature);
  double size_of(Role role, std::int64_t row, std::int64_t feature) const;
  double shift_of(Role role, std::int64_t row) const;
  double sloping(Role role, std::int64_t row, std::int64_t feature) const;
  Operand fill_bias(const BiasView& view, std::int64_t elements);

  const AttentionCase& test_;
  std::mt19937 random_;
  std::normal_distribution<double> normal_{0, 1};
};

}  // namespace flashconvert::kernels::testing
