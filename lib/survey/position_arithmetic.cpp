// Which masks a finite set of lengths tells everything about (position_arithmetic.h).
#include "survey/position_arithmetic.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <cmath>

#include "graph/dtypes.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;
namespace prim = c10::prim;

namespace {

constexpr int kDeepest = 64;  // operators between a mask and its positions

bool is_number(const Value* value) {
  const auto kind = value->type()->kind();
  return kind == c10::TypeKind::IntType || kind == c10::TypeKind::FloatType || kind == c10::TypeKind::NumberType;
}

// Integers in a buffer are positions, or windows; what else is stored is a mask.
bool holds_positions(const c10::IValue& stored) {
  if (!stored.isTensor() || !stored.toTensor().defined()) return false;
  return stored.toTensor().numel() > 1 && at::isIntegralType(stored.toTensor().scalar_type(), /*includeBool=*/false);
}

// Whether the value runs over positions, or is a length: something that grows with the lengths of the scores.
bool carries_positions(Value* value, const GraphFacts& facts, int depth) {
  if (depth > kDeepest) return true;
  if (is_number(value)) return !facts.number(value);
  if (!is_tensor(value)) return false;
  Node* node = value->node();
  if (const auto literal = torch::jit::toIValue(value)) return holds_positions(*literal);
  if (node->kind() == prim::GetAttr) {
    const auto stored = facts.attribute(value);
    return !stored || holds_positions(*stored);
  }
  if (facts.number(value)) return false;
  if (has_trait(node, kReduces) || is_any_of(node, {"aten::arange", "aten::linspace", "aten::cumsum"})) return true;
  if (node->kind() == prim::NumToTensor) return true;
  if (has_trait(node, kCompares | kCreates)) return false;
  if (is_any_of(node, {"aten::logical_not", "aten::logical_and", "aten::logical_or", "aten::logical_xor"}))
    return false;
  const std::size_t first = node->kind() == aten::where ? 1 : 0;  // the condition is a mask
  for (std::size_t i = first; i < node->inputs().size(); ++i) {
    Value* input = node->input(i);
    if (input->node()->kind() == prim::ListConstruct && !has_trait(node, kJoins)) continue;  // sizes, indices
    if (is_tensor(input) && carries_positions(input, facts, depth + 1)) return true;
  }
  if (!has_trait(node, kJoins)) return false;
  const auto parts = GraphFacts::list_elements(node->input(0));
  return parts.empty() || std::any_of(parts.begin(), parts.end(),
                                      [&](Value* part) { return carries_positions(part, facts, depth + 1); });
}

// Whether a cast leaves whole numbers of some thousands as they are.
bool holds_thousands(at::ScalarType type) {
  return type == at::kBool || type == at::kInt || type == at::kLong || type == at::kFloat || type == at::kDouble;
}

bool names_narrow_type(const Node* node) {
  const auto named = named_dtype(node);
  return named && !holds_thousands(*named);
}

bool is_plus_or_minus_one(Value* value, const GraphFacts& facts) {
  const auto number = facts.number(value);
  return number && std::abs(*number) == 1;
}

// Constants that are no larger than slopes are: what they multiply distances with hides no key at any length.
bool is_slope(Value* value, const GraphFacts& facts) {
  constexpr double kLargestSlope = 1e3;
  const auto known = facts.run(value);
  if (known && !is_number(value))
    return known->is_floating_point() && known->abs().max().item<double>() <= kLargestSlope;
  const auto number = facts.number(value);
  return number && std::abs(*number) <= kLargestSlope;
}

}  // namespace

MaskRole role_of_operand(const Node* node, std::size_t operand, MaskRole role) {
  const bool is_condition = (node->kind() == aten::where && operand == 0) ||
                            (node->kind() == aten::masked_fill && operand == 1) || has_trait(node, kCompares);
  return is_condition ? MaskRole::kCompared : role;
}

bool is_position_arithmetic(Node* node, MaskRole role, const GraphFacts& facts) {
  if (has_trait(node, kNumbers)) {  // on lengths
    const bool is_known = std::all_of(node->outputs().begin(), node->outputs().end(),
                                      [&](Value* output) { return facts.constant(output).has_value(); });
    return is_known ||
           is_any_of(node, {"aten::add", "aten::sub", "aten::neg", "aten::Int", "aten::Float", "aten::eq", "aten::ne",
                            "aten::lt", "aten::le", "aten::gt", "aten::ge", "aten::__not__", "aten::__is__",
                            "aten::__isnot__", "aten::__getitem__", "prim::min", "prim::max"});
  }
  if (is_any_of(node, {"aten::arange", "aten::cumsum"}) && names_narrow_type(node)) return false;
  const auto inputs = node->inputs();
  const bool takes_positions = std::any_of(inputs.begin(), inputs.end(), [&](Value* input) {
    return is_tensor(input) && carries_positions(input, facts, 0);
  });
  if (!takes_positions) return true;
  if (has_trait(node, kCasts)) {
    return named_dtype(node) && !names_narrow_type(node);  // to a type that is not known: no
  }
  if (node->kind() == aten::mul) {
    const auto& may_scale = role == MaskRole::kAdded ? is_slope : is_plus_or_minus_one;
    return may_scale(node->input(0), facts) || may_scale(node->input(1), facts);
  }
  if (is_any_of(node, {"aten::add", "aten::sub", "aten::rsub"})) {
    return node->inputs().size() < 3 || is_plus_or_minus_one(node->input(2), facts);
  }
  constexpr std::uint64_t kHarmless = kCompares | kKeepsValues | kCopies | kDetaches | kPermutes | kReshapes |
                                      kSelects | kDivides | kExpands | kJoins | kClamps | kMakesPositions | kAsks |
                                      kConverts | kCreates;
  return has_trait(node, kHarmless) || is_any_of(node, {"aten::neg", "aten::abs", "aten::maximum", "aten::minimum",
                                                        "aten::max", "aten::min", "aten::where", "aten::masked_fill",
                                                        "aten::logical_not", "aten::logical_and", "aten::logical_or"});
}

}  // namespace flashconvert::survey
