// The comparison of one output tensor: the figures of the report, and the first place where it fails.
#pragma once

#include <ATen/core/Tensor.h>

#include "report/report.h"

namespace flashconvert::verify {

// Compares tensors of the same shape and dtype (reference and yardstick: of the same shape). Fills in everything but
// the name. The figures are in units of the scale: the largest finite magnitude of the reference, or 1 where that is 0,
// so that an output of zeros is judged by its absolute error.
report::OutputComparison compare_tensors(const at::Tensor& reference, const at::Tensor& yardstick,
                                         const at::Tensor& original, const at::Tensor& converted);

}  // namespace flashconvert::verify
