// Values for inputs of which only shape and dtype are known.
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <vector>

#include "verify/uses.h"

namespace flashconvert::verify {

// How values are drawn; the next one is tried where the model rejects the last or answers with NaN alone.
enum class Draw {
  kByUse,    // as the graph says that they are used
  kNoMasks,  // the same, with nothing masked out
  kSmall,    // zeros and ones for integers, uniform in [0, 1) for floats
  kZeros,    // integers 0, floats 1
};
constexpr Draw kAllDraws[] = {Draw::kByUse, Draw::kNoMasks, Draw::kSmall, Draw::kZeros};

// Copies of the arguments with every meta tensor replaced by drawn values of its shape, strides and dtype; the rest
// stays. The same arguments and seed give the same values.
std::vector<c10::IValue> draw_arguments(const std::vector<c10::IValue>& arguments, const std::vector<InputUse>& uses,
                                        Draw draw, std::uint64_t seed);

// Whether a value holds a meta tensor.
bool has_meta_tensors(const std::vector<c10::IValue>& arguments);

}  // namespace flashconvert::verify
