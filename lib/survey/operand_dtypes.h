// The dtypes of queries and keys beside that of values. Where the weights are cast between softmax and second product,
// nothing in a graph says that they are one.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <vector>

namespace flashconvert::survey {

// Queries and keys that are cast up for the scores alone, the weights being cast back: the operator does as much in the
// dtype that they came in. Whether there were such casts, which are added to `passed` and left out.
bool strip_widening_casts(torch::jit::Value*& query, torch::jit::Value*& key, std::vector<torch::jit::Node*>& passed);

enum class OperandDtypes {
  kAlike,            // as far as can be told
  kWiderQueries,     // than values, or alike
  kNarrowerQueries,  // than values, or alike
};

// For weights that are cast to the values' dtype.
OperandDtypes operand_dtypes(const torch::jit::Value* query, const torch::jit::Value* value);

}  // namespace flashconvert::survey
