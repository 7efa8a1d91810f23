// The acceptance rule for a kernel's result.
#pragma once

#include <string>
#include <vector>

#include "attention_case.h"

namespace flashconvert::kernels::testing {

struct Verdict {
  std::string fault;         // empty when the result passes, else what is wrong and where
  double largest_share = 0;  // the largest and the mean error in parts of what is allowed
  double mean_share = 0;
};

// A result passes when its NaNs and infinities are where float64 has them, and its largest and mean error are at most
// twice those of the naive computation in the same dtype plus half a unit in the last place of the largest result
// (float32: one unit; mean: a tenth of it).
class Judge {
public:
  // Both must outlive it.
  Judge(const AttentionCase& test, const Expected& expected);

  // `actual`: the compared rows one after the other.
  Verdict operator()(const std::vector<double>& actual) const;

private:
  std::string place(std::size_t index) const;

  const AttentionCase& test_;
  const std::vector<double>& exact_;
  double naive_largest_;
  double allowed_largest_;
  double naive_mean_;
  double allowed_mean_;
};

}  // namespace flashconvert::kernels::testing
