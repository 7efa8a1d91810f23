// What a FusedAttention module is: its parameters, where each comes from, its attributes and its forward as
// TorchScript.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rewrite/outline/region.h"

namespace flashconvert::rewrite {

// Rows of one projection's weight and bias, in the order in which the module wants them.
struct RowSelection {
  const Projection* projection = nullptr;
  std::vector<std::int64_t> rows;  // output features of the projection
};

// One linear layer of the module: "in_proj" with the rows of query, key and value, or "q_proj", "kv_proj", "out_proj" …
struct ParameterGroup {
  std::string name;
  std::string argument;               // what it projects: an argument of forward
  std::vector<std::size_t> operands;  // 0 query, 1 key, 2 value; empty for the output projection
  std::vector<RowSelection> selections;
  bool has_bias = false;
};

struct FusedSpec {
  std::vector<ParameterGroup> groups;  // input projections, then the output projection where there is one
  std::vector<std::pair<std::string, torch::jit::Value*>> arguments;  // of forward, after self
  std::vector<std::pair<std::string, std::int64_t>> integers;         // attributes: num_heads, …
  double scale = 1.0;
  std::string source;   // of forward
  bool packed = false;  // projections that were separate became one
};

// `pack` says whether projections of one input become one. The spec refers to `region`. Nothing where features are used
// twice, which no packed weight can show.
std::optional<FusedSpec> make_spec(const FusedRegion& region, bool pack);

}  // namespace flashconvert::rewrite
