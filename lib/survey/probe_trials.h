// The trials of a probe (probe.h): their shapes, and what is drawn for them.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <vector>

#include "survey/method_facts.h"
#include "survey/probe.h"

namespace flashconvert::survey {

// The sizes of one trial.
struct Shape {
  std::vector<std::int64_t> product_leading;  // of the product's operands
  std::vector<std::int64_t> leading;          // of the operator's: the same, or the first split
  std::int64_t queries = 0, keys = 0, head_dim = 0, value_dim = 0, repeats = 1;
};

// What is hidden beside a random part: nothing; the first row, with minus infinity or with float32's lowest number; the
// first key, so that rows of a causal mask which see no other see none.
enum class Masks { kOrdinary, kMinusInfinity, kLowest, kFirstKey };

bool is_operand(const ProbeInput& input);

// The shapes to try where the operands have `rank` dimensions.
std::vector<Shape> trial_shapes(const ProbeSite& site, std::int64_t rank, const MethodFacts& facts);

// In how many layouts biases are tried; 1 where the site leaves none open.
std::size_t bias_layouts(const ProbeSite& site, const Shape& shape);

// The sizes of the tensor that an input is; none for an operand that cannot have this shape.
std::vector<std::int64_t> sizes_of(const ProbeInput& input, const Shape& shape, std::size_t bias_layout,
                                   const MethodFacts& facts);

// A tensor for an input.
at::Tensor draw(const ProbeInput& input, const std::vector<std::int64_t>& sizes, Masks masks, at::ScalarType type,
                at::Generator& generator);

// What numbers that the subgraph takes from outside must be, by their place in lists of sizes and by what else has that
// size in the model. One that nothing else has is part of a scale: any value serves both forms.
std::vector<std::int64_t> numbers_of(const std::vector<torch::jit::Value*>& numbers, const ProbeSite& site,
                                     const Shape& shape, const MethodFacts& facts);

}  // namespace flashconvert::survey
