// What is known of the dtypes of a graph's tensors (dtypes.h).
#include "graph/dtypes.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>

namespace flashconvert {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

constexpr int kDeepest = 64;

bool is_float_number(const Value* value) {
  const auto literal = torch::jit::toIValue(value);
  return value->type()->kind() == c10::TypeKind::FloatType || (literal && literal->isDouble());
}

// The operator's `dtype` argument; null where it has none.
const Value* dtype_argument(const Node* node) {
  const auto* schema = node->maybeSchema();
  for (std::size_t i = 0; schema && i < schema->arguments().size() && i < node->inputs().size(); ++i) {
    if (schema->arguments()[i].name() == "dtype") return node->input(i);
  }
  return nullptr;
}

bool is_floating(Value* tensor, const GraphFacts& facts, int depth);

bool any_is_floating(const Node* node, const GraphFacts& facts, int depth) {
  return std::any_of(node->inputs().begin(), node->inputs().end(), [&](const Value* input) {
    return is_tensor(input) ? is_floating(const_cast<Value*>(input), facts, depth + 1) : is_float_number(input);
  });
}

bool is_floating(Value* tensor, const GraphFacts& facts, int depth) {
  if (depth > kDeepest || !is_tensor(tensor)) return false;
  Node* node = tensor->node();
  if (const auto literal = torch::jit::toIValue(tensor)) {
    return literal->isTensor() && literal->toTensor().defined() && literal->toTensor().is_floating_point();
  }
  if (node->kind() == c10::prim::GetAttr) {
    const auto stored = facts.attribute(tensor);
    return stored && stored->isTensor() && stored->toTensor().defined() && stored->toTensor().is_floating_point();
  }
  if (const Value* dtype = dtype_argument(node); dtype && !dtype->mustBeNone()) {
    const auto named = named_dtype(node);  // that of another tensor may be any
    return named && at::isFloatingType(*named);
  }
  if (has_trait(node, kSoftmax | kNormalises)) return true;  // they take nothing else
  if (has_trait(node, kProduct | kProjects)) return any_is_floating(node, facts, depth);
  if (is_any_of(node, {"aten::ones", "aten::zeros", "aten::embedding"})) return true;  // the default dtype, a table's
  if (node->kind() == aten::div && node->inputs().size() == 2) return true;
  if (has_trait(node, kCompares)) return false;
  if (has_trait(node, kCasts)) return is_tensor(node->input(1)) && is_floating(node->input(1), facts, depth + 1);
  if (node->kind() == aten::masked_fill)
    return is_floating(node->input(0), facts, depth + 1);  // whatever the number is
  if (has_trait(node, kElementwise) && !has_trait(node, kWrites)) return any_is_floating(node, facts, depth);
  if (has_trait(node, kJoins)) {
    const auto parts = GraphFacts::list_elements(node->input(0));
    return std::any_of(parts.begin(), parts.end(), [&](Value* part) { return is_floating(part, facts, depth + 1); });
  }
  const bool is_made_of_first =
      has_trait(node, kKeepsValues | kCopies | kDetaches | kMakesPositions | kDropsOut | kWrites) ||
      (has_trait(node, kCreates) && has_trait(node, kAsks));
  return is_made_of_first && !node->inputs().empty() && is_floating(node->input(0), facts, depth + 1);
}

}  // namespace

std::optional<at::ScalarType> named_dtype(const Node* node) {
  const Value* argument = dtype_argument(node);
  const auto named = argument ? torch::jit::toIValue(argument) : std::nullopt;
  return named && named->isInt() ? std::optional(static_cast<at::ScalarType>(named->toInt())) : std::nullopt;
}

bool is_known_floating(Value* tensor, const GraphFacts& facts) { return is_floating(tensor, facts, 0); }

}  // namespace flashconvert
