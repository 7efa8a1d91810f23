// What a reparameterised weight is called in the report. Nothing else depends on it: folding never asks for the form.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "fold/weight_path.h"

namespace flashconvert::fold {

// The raw parameter that the weight is made from: the one of the weight's shape, and of several the one that is named
// like a weight. Nothing for weights that have none (products of two factors, say).
struct RawWeight {
  at::Tensor tensor;
  Cell cell;
};
std::optional<RawWeight> raw_weight(const WeightPath& path, const at::Tensor& weight);

// "sigma-reparam/row-norm", "sigma-reparam/spectral", "spectral-norm", "weight-norm", "orthogonal", "lora-sum",
// "weight-standardisation", "masked", "scaled" or "general", by the operators of the path and by how the weight differs
// from the raw one.
std::string classify(const WeightPath& path, const at::Tensor& weight);

}  // namespace flashconvert::fold
