// The part of a graph that a FusedAttention module takes over: from the projections' inputs to the merged heads, with
// the output projection where it follows directly.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "rewrite/outline/layout.h"
#include "rewrite/outline/projection.h"

namespace flashconvert::rewrite {

// The constant arguments of an attention operator of either backend.
struct AttentionArguments {
  bool portable = false;  // aten::scaled_dot_product_attention
  double scale = 1.0;
  bool causal = false;
  bool causal_without_bias = false;  // the bias is an Optional, and the mask is causal where it is None
  std::array<std::int64_t, 2> window{-1, -1};
  double softcap = 0.0;
  bool zero_masked_rows = false;
  bool bottom_right = false;
  std::vector<std::string> bias_casts;  // portable alone: functions of bias and query, in order (attention_functions.h)
  bool nan_in_hidden_rows = false;  // portable alone: rows whose keys the bias hides become NaN (survey/hidden_rows.h)
};

// Query, key or value: heads cut out of a projection's output features.
struct HeadOperand {
  Projection projection;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::vector<std::int64_t> rows;  // output feature of the projection for each (head, feature of the head)
  bool open_length = false;        // a view left the length to be inferred (-1)
};

struct FusedRegion {
  torch::jit::Node* attention = nullptr;
  torch::jit::Value* context = nullptr;  // the attention's result, hidden rows included
  AttentionArguments arguments;
  std::array<HeadOperand, 3> operands;  // query, key, value
  bool batch_first = true;              // the inputs are [batch, length, features], else [length, batch, features]
  bool merged_batch_first = true;       // so is the result
  std::optional<Projection> output;     // the projection of the merged heads
  torch::jit::Value* bias = nullptr;    // null: none
  torch::jit::Value* end = nullptr;     // what the module returns

  std::unordered_set<torch::jit::Node*> nodes;  // what goes
  // aten::size nodes outside the region that ask for a size of a value inside it: the input that has it, and its dim.
  struct SizeQuery {
    torch::jit::Node* node = nullptr;
    torch::jit::Value* tensor = nullptr;  // null: `dim` is the size itself
    std::int64_t dim = 0;
  };
  std::vector<SizeQuery> size_queries;

  torch::jit::Value* input(std::size_t operand) const { return operands.at(operand).projection.input; }
};

// The region around an attention node, or the reason why there is none.
std::variant<FusedRegion, std::string> find_region(torch::jit::Node* attention, const torch::jit::Module& self);

}  // namespace flashconvert::rewrite
