// Rows in which every key is hidden (hidden_rows.h).
#include "survey/hidden_rows.h"

#include <cmath>

#include "survey/attention_functions.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// A lower number becomes minus infinity when the model is cast to half precision afterwards.
at::Tensor visible_keys(const at::Tensor& bias) {
  return bias.scalar_type() == at::kBool ? bias : bias.ge(kLowestHalf);
}

}  // namespace

bool may_hide_rows(const Bias& bias, const MethodFacts& facts) {
  if (const auto known = facts.run(bias.value)) return !visible_keys(*known).any(-1).all().item<bool>();
  if (!bias.is_boolean && hides_nothing({ScoreTerm::Kind::kAdditive, bias.value}, facts, -kLowestHalf)) return false;
  // where(mask, finite, finite): what a mask of a finite number is turned into.
  const auto finite = [&](Value* value) {
    const auto number = facts.number(value);
    return number && std::isfinite(*number);
  };
  const Node* node = bias.value->node();
  return bias.is_boolean || kind_name(node) != "aten::where" || !finite(node->input(1)) || !finite(node->input(2));
}

Value* nan_in_hidden_rows(Graph& graph, Value* context, const Bias& bias, Value* zeros, const MethodFacts& facts) {
  Value* stay_zero = zeros ? zeros : graph.insertConstant(false);
  return call_function(graph, *facts.module()._ivalue()->compilation_unit(), kNanInHiddenRows,
                       {context, bias.value, stay_zero});
}

}  // namespace flashconvert::survey
