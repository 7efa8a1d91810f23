// The acceptance rule for a kernel's result.
#pragma once

#include <string>
#include <vector>

#include "attention_case.h"

namespace flashconvert::kernels::testing {

// Empty when the result passes, else what is wrong and where. A result passes when its NaNs and infinities are where
// float64 has them, and its largest and mean error are at most twice those of the naive computation in the same dtype
// plus half a unit in the last place of the largest result (float32: one unit; mean: a tenth of it).
std::string find_fault(const AttentionCase& test, const Expected& expected, const std::vector<double>& actual);

}  // namespace flashconvert::kernels::testing
