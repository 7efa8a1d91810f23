// From the softmax up to the product: the loop over the steps.
#include <unordered_set>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

std::vector<Value*> score_operands(const Node* node) {
  const std::uint64_t traits = traits_of(node);
  if ((traits & (kElementwise | kCasts | kCopies | kDetaches | kPermutes | kReshapes)) == 0) return {};
  const auto input = [&](std::size_t i) { return const_cast<Value*>(node->input(i)); };
  if (node->kind() == aten::where) return {input(1), input(2)};
  if ((traits & kCommutes) != 0) return {input(0), input(1)};
  return {input(0)};
}

bool leads_to_product(Value* value, const MethodFacts& facts) {
  std::vector<std::pair<Value*, int>> pending{{value, 0}};
  std::unordered_set<Value*> seen;
  while (!pending.empty()) {
    const auto [current, steps] = pending.back();
    pending.pop_back();
    if (steps > kMostScoreOperators || !seen.insert(current).second) continue;
    Node* node = current->node();
    if (is_product(node)) return !facts.is_independent_of_inputs(current);
    for (Value* operand : score_operands(node)) {
      if (is_tensor(operand)) pending.emplace_back(operand, steps + 1);
    }
  }
  return false;
}

bool walk_scores(SiteWalk& site, const MethodFacts& facts) {
  Value* scores = site.softmax->input(0);
  if (!leads_to_product(scores, facts)) return false;
  double multiplier = 1;
  for (int steps = 0; steps < kMostScoreOperators; ++steps) {
    Node* node = scores->node();
    site.path.push_back(node);
    if (is_product(node)) {
      const Product product = read_product(node, facts);
      if (!product.output_order.empty()) throw Declined("the einsum of the scores does not end in queries, keys");
      if (product.addend) {
        if (!site.factors.empty() || !site.scale_factors.empty()) {
          throw Declined("a tensor scales the sum of scores and bias");
        }
        if (site.softcap > 0) throw Declined("a bias inside a softcap");
        site.terms.push_back(
            {ScoreTerm::Kind::kAdditive, product.addend, multiplier * product.beta, 0, site.levels.size()});
      }
      site.score_product = node;
      site.query = product.left;
      site.key = product.right_transposed;
      site.scale = multiplier * product.alpha * (site.softcap > 0 ? site.softcap : 1);
      return true;
    }
    if (node->kind() == aten::tanh) {  // softcap: cap * tanh(scores / cap)
      if (site.softcap > 0) throw Declined("two tanh between product and softmax");
      if (!(multiplier > 0)) throw Declined("a softcap that is not positive");
      if (!site.factors.empty() || !site.scale_factors.empty()) throw Declined("a tensor scales the capped scores");
      site.softcap = multiplier;
      multiplier = 1;
      scores = node->input(0);
      continue;
    }
    const ScoreStep step{site, facts, scores, multiplier, site.softcap > 0};
    if (step_cast_or_copy(step) || step_scale(step) || step_mask(step) || step_shift(step) || step_bias(step) ||
        step_layout(step)) {
      continue;
    }
    throw Declined("the scores pass through " + kind_name(node));
  }
  throw Declined("more than " + std::to_string(kMostScoreOperators) + " operators between product and softmax");
}

}  // namespace flashconvert::survey
