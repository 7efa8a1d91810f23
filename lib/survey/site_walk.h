// What the walk out from one softmax learns, as one value. The rules (rules/) fill it in; site_builder turns it into an
// expression over the attention operator; probe checks that the two agree.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "survey/method_facts.h"

namespace flashconvert::survey {

// Thrown by a rule that meets something which the operator cannot express; the text is what the report says.
class Declined : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

// An operand of a product in the operator's orientation [..., length, features]: `root`, its dimensions permuted by
// `order` (operator dimension i is root dimension order[i]); `swap_last` swaps the last two where the rank is not
// known.
struct Operand {
  torch::jit::Value* root = nullptr;
  std::vector<std::int64_t> order;
  bool swap_last = false;
};

// Something added to the scores, or written over them where a mask says so.
struct ScoreTerm {
  enum class Kind {
    kAdditive,      // scores + factor * tensor
    kMaskedWhere,   // scores become `fill` where the boolean tensor is true
    kVisibleWhere,  // scores become `fill` where the boolean tensor is false
  };
  Kind kind = Kind::kAdditive;
  torch::jit::Value* tensor = nullptr;
  double factor = 1;
  double fill = -std::numeric_limits<double>::infinity();
  std::size_t level = 0;  // of the score layout, see SiteWalk::levels
};

// A tensor that multiplies (or divides) the scores and does not vary along queries and keys (a per-head logit scale).
struct ScoreFactor {
  torch::jit::Value* tensor = nullptr;
  bool divides = false;
};

// The keys that a query sees by its position: key j where i + d - left <= j <= i + d + right; -1 is no limit. d is 0,
// or Lk - Lq with `bottom_right`. Both limits and d are those of flashconvert::attention.
struct Band {
  std::int64_t left = -1;
  std::int64_t right = -1;
  bool bottom_right = false;

  bool limits() const { return left >= 0 || right >= 0; }
  bool is_causal() const { return right == 0; }
};

struct SiteWalk {
  // Where it starts and ends.
  torch::jit::Node* softmax = nullptr;
  torch::jit::Node* score_product = nullptr;
  torch::jit::Node* value_product = nullptr;
  torch::jit::Value* output = nullptr;     // what the replacement replaces
  std::vector<std::int64_t> output_order;  // output dimension i is operator dimension output_order[i]; empty: the same
  bool output_swapped = false;             // the last two dimensions of the output are swapped

  Operand query, key, value;
  double scale = 1;
  double query_scale = 1;  // of `scale`, the part that stands on the query operand, and on the key operand
  double key_scale = 1;
  double softcap = 0;
  std::vector<ScoreFactor> factors;
  std::vector<ScoreFactor> scale_factors;  // of no dimensions, from sizes: part of the scale, computed at run time
  Band band;                               // what the terms say of positions alone, taken out of them
  // A causal mask that callers hand down, taken out of the terms: it is the band, at the lengths for which it was made.
  torch::jit::Value* assumed_mask = nullptr;
  std::vector<ScoreTerm> terms;  // from the softmax inwards: the first was applied last
  // Reshapes of the scores between product and softmax, from the softmax inwards. The scores have layout 0 at the
  // softmax and layout levels.size() at the product; levels[i] is the node that makes layout i out of layout i + 1.
  std::vector<torch::jit::Node*> levels;
  std::vector<torch::jit::Node*> output_levels;  // reshapes of the weights between softmax and second product

  bool casts_scores_to_half = false;    // after what the terms do, seen from the product
  bool casts_weights = false;           // between softmax and second product
  bool zero_masked_rows = false;        // weights are set to zero where the mask hides a key
  std::vector<torch::jit::Node*> path;  // every node that the walk passed, for the checks of outside uses and aliasing
};

// Is this `aten::transpose` of the last two dimensions? Uses the rank, or infers it from positive arguments 2 and 3.
bool swaps_last_two(const torch::jit::Node* node, const MethodFacts& facts);

}  // namespace flashconvert::survey
