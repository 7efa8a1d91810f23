// Turns what a walk learned into an expression over the attention operator, in the working copy of the graph.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <map>
#include <string>
#include <vector>

#include "survey/method_facts.h"
#include "survey/site_walk.h"
#include "survey/survey.h"

namespace flashconvert::survey {

struct BuiltSite {
  torch::jit::Value* replacement = nullptr;
  torch::jit::Node* attention = nullptr;
  // What the expression starts from: the probe draws these. Key and value may have fewer heads than the query.
  Operand query, key, value;
  std::int64_t repeats = 1;  // query heads a key head
  // Of these the replacement reads the operand instead of the result, at the second product.
  std::vector<torch::jit::Node*> passed;
  std::vector<torch::jit::Value*> leading_sizes;  // of the layout that the operator sees, when the site reshapes to it
};

// One bias of the attention operator; null: none. A boolean one is true where a key is visible.
struct Bias {
  torch::jit::Value* value = nullptr;
  bool is_boolean = false;  // else floating; without a meaning for an Optional[Tensor]
};

// The arguments of one attention node that are not operands.
struct AttentionArguments {
  double scale = 1;
  torch::jit::Value* dynamic_scale = nullptr;   // a float computed at run time, in place of `scale`
  torch::jit::Value* dynamic_causal = nullptr;  // a bool computed at run time, for a causal `band`
  Band band;
  double softcap = 0;
  bool zero_masked_rows = false;
  torch::jit::Value* dynamic_zero_masked_rows = nullptr;  // a bool computed at run time
  bool grouped = false;                                   // key and value have fewer heads
  // Portable alone: the bias is laid out for operands whose first dimension is split, so that these are the leading
  // ones.
  std::vector<torch::jit::Value*> split_sizes;
};

// Inserts a call of an operator at the graph's insertion point; the schema is matched as the TorchScript compiler does.
torch::jit::Value* call(torch::jit::Graph& graph, const char* name,
                        const std::vector<torch::jit::NamedValue>& arguments);

// [..., length, features] with other leading dimensions, at the insertion point.
torch::jit::Value* reshape_leading(torch::jit::Graph& graph, torch::jit::Value* operand,
                                   const std::vector<torch::jit::Value*>& leading);

struct InsertedAttention {
  torch::jit::Node* node = nullptr;
  torch::jit::Value* context = nullptr;  // what the site goes on with
};

// Inserts flashconvert::attention (or scaled_dot_product_attention for the portable backend, and after it what rows
// without a visible key need) at the graph's insertion point. Throws Declined for what the backend cannot express.
InsertedAttention insert_attention(torch::jit::Graph& graph, Backend backend, torch::jit::Value* query,
                                   torch::jit::Value* key, torch::jit::Value* value, const Bias& bias,
                                   const AttentionArguments& arguments, const MethodFacts& facts);

// What the terms come to, as one bias at the insertion point. The terms stand from the softmax inwards. `query` is null
// where the bias need not have its dtype.
Bias insert_bias(torch::jit::Graph& graph, const std::vector<ScoreTerm>& terms, torch::jit::Value* query,
                 const MethodFacts& facts);

// The bias of a site whose causal mask callers hand down, and the argument that goes with it, at the insertion point.
Bias insert_assumed_mask(torch::jit::Graph& graph, torch::jit::Value* mask, torch::jit::Value* query,
                         torch::jit::Value* key, AttentionArguments& arguments, const MethodFacts& facts);

// For the report: `rest` is what the bias holds beside the band ("none", "additive", ...).
std::string describe_bias(const Band& band, const std::string& rest);

// Inserts the expression just before the site's second product. Throws Declined.
BuiltSite build_site(SiteWalk& site, torch::jit::Graph& graph, const MethodFacts& facts, Backend backend);

}  // namespace flashconvert::survey
