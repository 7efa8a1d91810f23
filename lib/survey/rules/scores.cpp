// From the softmax up to the product: the loop over the steps.
#include <unordered_set>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

std::vector<Value*> score_operands(const Node* node) {
  const std::string name = kind_name(node);
  if (name == "aten::add" || name == "aten::mul" || name == "aten::maximum" || name == "aten::max") {
    if (node->inputs().size() < 2) return {};
    return {node->input(0), node->input(1)};
  }
  if (name == "aten::where")
    return node->inputs().size() == 3 ? std::vector<Value*>{node->input(1), node->input(2)} : std::vector<Value*>{};
  if (name == "aten::div" || name == "aten::sub" || name == "aten::masked_fill" || name == "aten::to" ||
      name == "aten::view" || name == "aten::reshape" || name == "aten::contiguous" || name == "aten::clone" ||
      name == "aten::tanh" || name == "aten::float" || name == "aten::half" || name == "aten::type_as" ||
      name == "aten::detach" || name == "aten::alias" || name == "aten::masked_fill_" || name == "aten::add_" ||
      name == "aten::mul_" || name == "aten::div_" || name == "aten::clamp" || name == "aten::unsqueeze" ||
      name == "aten::squeeze" || name == "aten::transpose" || name == "aten::permute" || name == "aten::clamp_min") {
    return {node->input(0)};
  }
  return {};
}

bool leads_to_product(Value* value, const GraphFacts& facts) {
  std::vector<std::pair<Value*, int>> pending{{value, 0}};
  std::unordered_set<Value*> seen;
  while (!pending.empty()) {
    const auto [current, steps] = pending.back();
    pending.pop_back();
    if (steps > kMostScoreOperators || !seen.insert(current).second) continue;
    Node* node = current->node();
    if (is_product(node)) return !facts.is_independent_of_inputs(current);
    for (Value* operand : score_operands(node)) {
      if (operand->type()->isSubtypeOf(*c10::TensorType::get())) pending.emplace_back(operand, steps + 1);
    }
  }
  return false;
}

bool walk_scores(SiteWalk& site, const GraphFacts& facts) {
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
