// The rules of the walk, one file a part. Each consumes the spellings of one thing and records what it means in the
// SiteWalk; a rule that recognises nothing returns false (or nothing), one that meets what cannot be fused throws
// Declined with the reason.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "survey/mask_numbers.h"
#include "survey/method_facts.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

// --- product.cpp: matmul, bmm, baddbmm, einsum ---

// A product left · right of two activations, [..., M, K] by [..., K, N].
struct Product {
  torch::jit::Node* node = nullptr;
  Operand left;                            // [..., M, K]
  Operand right_transposed;                // the right operand as [..., N, K]
  Operand right;                           // the right operand as [..., K, N]
  std::vector<std::int64_t> output_order;  // of the node's output over [..., M, N]; empty: the same
  torch::jit::Value* addend = nullptr;     // baddbmm: beta * addend + alpha * left · right
  double alpha = 1;
  double beta = 0;
};
// Throws Declined for an einsum that is no batched matrix product.
Product read_product(torch::jit::Node* node, const MethodFacts& facts);

// --- scores.cpp: from the softmax up to the product ---

constexpr int kMostScoreOperators = 40;  // that a walk passes between product and softmax

// The operands through which scores may come, for the search for a product.
std::vector<torch::jit::Value*> score_operands(const torch::jit::Node* node);
// Does the value come from a product through operators that the walk can pass?
bool leads_to_product(torch::jit::Value* value, const MethodFacts& facts);
// Walks up from the softmax's input. Returns false when there is no product: not attention.
bool walk_scores(SiteWalk& site, const MethodFacts& facts);

// --- scale.cpp, bias.cpp (and masks), unchanged_scores.cpp (the rest): one step of the walk; `scores` moves up by one
// operator
// ---
struct ScoreStep {
  SiteWalk& site;
  const MethodFacts& facts;
  torch::jit::Value*& scores;
  double& multiplier;  // what later operators multiply this value by
  bool inside_softcap;
};
bool step_scale(ScoreStep step);
bool step_bias(ScoreStep step);
bool step_mask(ScoreStep step);
bool step_cast_or_copy(ScoreStep step);
bool step_shift(ScoreStep step);
bool step_layout(ScoreStep step);

// --- positions.cpp: causal masks and sliding windows ---

struct Positions {
  Band band;
  // A causal mask of the caller's (AssumedMask) that is all there is beside the band; it may be cut.
  torch::jit::Value* assumed_mask = nullptr;
  std::vector<ScoreTerm> rest;  // the terms without what band and assumed mask say

  bool say_something() const { return band.limits() || assumed_mask; }
};
// Splits the terms (from the softmax inwards) of a product of `query` and `key` into the keys that they hide by
// position and the rest. Exact: what cannot be shown to be the same at all lengths stays a term.
Positions separate_positions(const std::vector<ScoreTerm>& terms, const Operand& query, const Operand& key,
                             const MethodFacts& facts);

// Is the term a table of the model's own that is added to the scores, with nothing in it that hides a key? That is,
// nothing beyond `largest`.
bool hides_nothing(const ScoreTerm& term, const MethodFacts& facts, double largest = kLargestBias);

// --- weights.cpp: from the softmax down to the second product ---

// Whether an operator that drops out does nothing in this mode, in every run.
bool is_inactive_dropout(const torch::jit::Node* dropout, const MethodFacts& facts);

// Does the value reach the method's result without passing through a product? Used to word the reason.
bool reaches_result(const torch::jit::Value* value);
// Returns false when the weights meet no product. Throws Declined when they are used for something else as well.
bool walk_weights(SiteWalk& site, const MethodFacts& facts);

// --- talking_heads.cpp ---

// Does a linear layer mix the scores (or the weights) of different heads between the softmax and one of the products?
bool mixes_heads(torch::jit::Node* softmax);

// --- operands.cpp ---

// The key (or query) operand without transposes that cancel and without number factors, which go to `scale`.
// New nodes, where a factor is taken out from under a chain of views, stand before `before`. Nodes of which the operand
// is read there instead of their result are added to `passed`.
Operand simplify_operand(Operand operand, const MethodFacts& facts);
torch::jit::Value* without_scale(torch::jit::Value* value, double& scale, torch::jit::Node* before,
                                 std::vector<torch::jit::Node*>& passed, const MethodFacts& facts);

// The size of an operand's length.
SymbolicSize length_of(const Operand& operand, const MethodFacts& facts);

// The tensor of Hkv heads that `value` repeats (expand and reshape, repeat_interleave), and how often; or nothing.
struct Repeated {
  torch::jit::Value* heads = nullptr;
  std::int64_t times = 1;
};
std::optional<Repeated> repeated_heads(torch::jit::Value* value, const MethodFacts& facts);

}  // namespace flashconvert::survey
