// The scale: numbers and constant tensors that multiply or divide the scores, and tensors that do not vary along
// queries and keys (a learned logit scale of each head).
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// [..., 1, 1] or a single element: multiplying the scores by it is multiplying the queries by it.
bool is_constant_over_queries_and_keys(Value* value, const MethodFacts& facts) {
  const auto last = facts.size_from_end(value, -1);
  const auto second = facts.size_from_end(value, -2);
  if (last == 1 && second == 1) return true;
  const auto known = facts.shape(value);
  if (!known) return false;
  const std::size_t rank = known->size();
  return (rank < 1 || (*known)[rank - 1] == 1) && (rank < 2 || (*known)[rank - 2] == 1);
}

}  // namespace

bool step_scale(ScoreStep step) {
  Node* node = step.scores->node();
  const std::string name = kind_name(node);
  const bool multiplies = name == "aten::mul" || name == "aten::mul_";
  const bool divides = (name == "aten::div" || name == "aten::div_") && node->inputs().size() == 2;
  if (!multiplies && !divides) return false;
  const bool scores_first = !multiplies || leads_to_product(node->input(0), step.facts);
  Value* scores = node->input(scores_first ? 0 : 1);
  Value* other = node->input(scores_first ? 1 : 0);
  if (const auto factor = step.facts.number(other)) {
    if (*factor == 0 || !std::isfinite(*factor)) throw Declined("the scores are scaled by zero or infinity");
    step.multiplier *= divides ? 1 / *factor : *factor;
  } else {
    if (!is_tensor(other)) throw Declined("the scale is a number that is computed at run time");
    if (step.facts.is_size_number(other)) {
      if (step.inside_softcap) throw Declined("a scale that is computed at run time inside a softcap");
      step.site.scale_factors.push_back({other, divides});
      step.scores = scores;
      return true;
    }
    if (!is_constant_over_queries_and_keys(other, step.facts)) {
      throw Declined("the scores are multiplied by a tensor that may vary along queries or keys");
    }
    if (step.inside_softcap) throw Declined("a tensor scales the scores inside a softcap");
    step.site.factors.push_back({other, divides});
  }
  step.scores = scores;
  return true;
}

}  // namespace flashconvert::survey
