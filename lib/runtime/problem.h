// One call of the operator, checked and brought into the one form that every implementation works on.
#pragma once

#include <cstdint>
#include <optional>

#include "arguments.h"

namespace flashconvert::runtime {

// Key j is visible to query i when i + diagonal - left <= j <= i + diagonal + right; -1 is unlimited.
struct Band {
  std::int64_t left = -1;
  std::int64_t right = -1;
  std::int64_t diagonal = 0;

  bool limits() const { return left >= 0 || right >= 0; }
  bool is_lower_triangle() const { return left < 0 && right >= 0 && diagonal + right == 0; }
};

struct Problem : Shape {
  Tensor query;  // [batch, heads, query_length, head_dim]
  Tensor key;    // [batch, key_heads, key_length, head_dim]
  Tensor value;  // [batch, key_heads, key_length, value_dim]
  // [batch_sizes..., heads, query_length, key_length], each dimension full or 1. Boolean, or the dtype of the query, or
  // float32 beside 16-bit operands.
  std::optional<Tensor> bias;

  ScalarType dtype = ScalarType::Undefined;

  double scale = 1.;
  double softcap = 0.;
  Band band;  // limits nothing where every key is visible
  bool zero_masked_rows = false;

  std::int64_t group() const { return heads / key_heads; }
  bool has_no_result() const { return batch == 0 || heads == 0 || query_length == 0 || value_dim == 0; }
};

// Checks the arguments (see check_arguments).
Problem make_problem(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& bias,
                     const Options& options);

// The bias in four dimensions, each full or 1: a view, except for a bias that differs along one of several batch
// dimensions and is broadcast along another.
std::optional<Tensor> bias_in_four_dimensions(const Problem& problem);

// An uninitialised [batch, heads, query_length, value_dim] that lies in memory as [batch, query_length, heads,
// value_dim].
Tensor empty_output(const Problem& problem);

// The result in the caller's rank, with the strides of `empty_output`: copies only where `output` lies otherwise.
// Differentiable.
Tensor as_result(const Problem& problem, const Tensor& output);

}  // namespace flashconvert::runtime
