// The dtypes of queries and keys beside that of values (operand_dtypes.h).
#include "survey/operand_dtypes.h"

#include <algorithm>
#include <optional>

#include "graph/dtypes.h"
#include "graph/operators.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;

namespace {

constexpr int kCombinedOperators = 10;  // above an operand

// Whether a tensor of the code's own is combined with the operand elementwise: of a dtype that does not follow the
// model's, as angles are that come from an arange.
bool meets_fixed_dtype(const Value* operand, int depth = 0) {
  const Node* node = operand->node();
  if (depth > kCombinedOperators || has_trait(node, kCasts)) return false;
  if (has_trait(node, kCreates)) return depth > 0;
  if (!has_trait(node, kElementwise | kPermutes | kReshapes | kSelects | kDivides | kCopies | kExpands | kJoins) &&
      node->kind() != torch::jit::prim::ListConstruct && node->kind() != torch::jit::prim::ListUnpack) {
    return false;
  }
  const auto inputs = node->inputs();
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](const Value* input) { return meets_fixed_dtype(input, depth + 1); });
}

// The dtype that the code casts the operand to by name.
std::optional<at::ScalarType> cast_to(const Value* operand) {
  const Node* node = operand->node();
  while (has_trait(node, kPermutes | kReshapes | kSelects | kCopies) && !node->inputs().empty()) {
    node = node->input(0)->node();
  }
  return has_trait(node, kCasts) ? named_dtype(node) : std::nullopt;
}

bool has_16_bits(std::optional<at::ScalarType> dtype) { return dtype == at::kHalf || dtype == at::kBFloat16; }

}  // namespace

bool strip_widening_casts(Value*& query, Value*& key, std::vector<Node*>& passed) {
  const auto is_widened = [](const Value* value) {
    const auto named = has_trait(value->node(), kCasts) ? named_dtype(value->node()) : std::nullopt;
    return named == at::kFloat || named == at::kDouble;
  };
  if (!is_widened(query) || !is_widened(key)) return false;
  for (Value** operand : {&query, &key}) {
    passed.push_back((*operand)->node());
    *operand = (*operand)->node()->input(0);
  }
  return true;
}

OperandDtypes operand_dtypes(const Value* query, const Value* value) {
  const auto of_query = cast_to(query), of_value = cast_to(value);
  if (of_query && of_query == of_value) return OperandDtypes::kAlike;
  if (has_16_bits(of_query)) return OperandDtypes::kNarrowerQueries;
  return of_value || meets_fixed_dtype(query) ? OperandDtypes::kWiderQueries : OperandDtypes::kAlike;
}

}  // namespace flashconvert::survey
