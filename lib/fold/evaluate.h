// Evaluating a weight by running its path on a copy of what it reads.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "fold/weight_path.h"

namespace flashconvert::fold {

struct Evaluation {
  at::Tensor weight;                   // in the dtype that the layer takes; undefined when it failed
  std::optional<std::string> failure;  // why the path could not be run
  std::optional<double> drift;  // ‖second − first‖ / ‖first‖ of two calls in a row, when the path writes state
  std::string note;             // how it was computed, where that is not float64
};

// Runs the path in eval mode and float64, rounded to the dtype that the path itself gives. The path's own arithmetic
// takes the place of float64 where an operator does not know float64, or where both differ by more than rounding can
// explain (thresholds, dtype tricks).
Evaluation evaluate(const WeightPath& path);

// ‖a − b‖ / ‖b‖ in float64, Frobenius.
double relative_change(const at::Tensor& a, const at::Tensor& b);

}  // namespace flashconvert::fold
