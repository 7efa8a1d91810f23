// Rows in which every key is hidden (hidden_rows.h).
#include "survey/hidden_rows.h"

#include <cmath>
#include <limits>

#include "survey/script_functions.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Lower ones become minus infinity when the model is cast to half precision afterwards.
constexpr double kLowestHalf = -65504;

at::Tensor visible_keys(const at::Tensor& bias) {
  return bias.scalar_type() == at::kBool ? bias : bias.ge(kLowestHalf);
}

bool is_optional(const Value* value) { return value->type()->kind() == c10::TypeKind::OptionalType; }

}  // namespace

bool may_hide_rows(const Bias& bias, const GraphFacts& facts) {
  if (const auto known = facts.run(bias.value)) return !visible_keys(*known).any(-1).all().item<bool>();
  // where(mask, finite, finite): what a mask of a finite number is turned into.
  const auto finite = [&](Value* value) {
    const auto number = facts.number(value);
    return number && std::isfinite(*number);
  };
  const Node* node = bias.value->node();
  return bias.is_boolean || kind_name(node) != "aten::where" || !finite(node->input(1)) || !finite(node->input(2));
}

Value* nan_in_hidden_rows(Graph& graph, Value* context, const Bias& bias, Value* zeros, const GraphFacts& facts) {
  if (zeros || is_optional(bias.value)) {
    Value* as_they_are = zeros ? zeros : graph.insertConstant(false);
    return call_function(graph, *facts.module()._ivalue()->compilation_unit(), ScriptFunction::kNanInHiddenRows,
                         {context, bias.value, as_they_are});
  }
  Value* hidden = nullptr;
  if (bias.is_boolean) {
    Value* seen = call(graph, "aten::any", {bias.value, c10::IValue(-1), c10::IValue(true)});
    hidden = call(graph, "aten::logical_not", {seen});
  } else {
    const std::vector<std::int64_t> keys{-1};
    Value* highest = call(graph, "aten::amax", {bias.value, c10::IValue(keys), c10::IValue(true)});
    hidden = call(graph, "aten::eq", {highest, c10::IValue(-kInfinity)});
  }
  hidden->setDebugName("hidden_rows");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return call(graph, "aten::masked_fill", {context, hidden, c10::IValue(nan)});
}

}  // namespace flashconvert::survey
