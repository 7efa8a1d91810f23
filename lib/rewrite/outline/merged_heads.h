// Heads as layouts show them: split for the attention, and merged again after it.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>

#include "rewrite/outline/layout.h"
#include "rewrite/outline/projection.h"

namespace flashconvert::rewrite {

// Where the heads stand in the three or four dimensions of an attention operand.
enum class HeadForm {
  kJoined,        // [batch · heads, length, features]
  kSeparate,      // [batch, heads, length, features]
  kJoinedSecond,  // [1, batch · heads, length, features]
  kJoinedFirst,   // [batch · heads, 1, length, features]
};

struct HeadView {
  HeadForm form = HeadForm::kSeparate;
  SizeSymbol batch;
  SizeSymbol length;
  Factor heads;     // features of the projection, one a head; extent 1 and stride 0 for a single head
  Factor features;  // of one head
};

// The heads that a layout shows, or nothing.
std::optional<HeadView> head_view(const Layout& layout);

bool is_only(const DimFactors& dimension, const SizeSymbol& symbol);

// Lays out an attention's result: the query's dimensions, with heads of `value_dim` features.
void declare_context(torch::jit::Value* context, const HeadView& query, std::int64_t value_dim, Layouts& layouts);

struct MergedHeads {
  torch::jit::Value* end = nullptr;  // [batch, length, features] or [length, batch, features]
  bool batch_first = true;
  std::optional<Projection> output;  // the output projection, where it follows directly
};

// Follows the attention's result down through views to the last value that holds the merged heads in three dimensions,
// before or after an output projection.
std::optional<MergedHeads> find_merged_heads(torch::jit::Value* context, const HeadView& query,
                                             const torch::jit::Module& self, Layouts& layouts);

}  // namespace flashconvert::rewrite
