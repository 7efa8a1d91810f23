// Which masks are functions of the lengths, and running them (mask_expression.h).
#include "survey/mask_expression.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "graph/memory.h"
#include "survey/mask_numbers.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;
namespace attr = c10::attr;

MaskExpression::MaskExpression(Value* mask, ScoreLengths lengths, const GraphFacts& facts)
    : lengths_(std::move(lengths)), facts_(facts), subgraph_(facts, at::kDouble) {
  readable_ = accept(mask, MaskRole::kAdded) && subgraph_.add_output(mask) &&
              std::all_of(subgraph_.numbers().begin(), subgraph_.numbers().end(),
                          [](const Value* number) { return number->type()->isSubtypeOf(*c10::IntType::get()); });
}

bool MaskExpression::accept(Value* value, MaskRole role) {
  const auto [place, is_new] = accepted_.try_emplace({value, role}, false);
  if (is_new) accepted_[{value, role}] = accept_new(value, role);
  return accepted_.at({value, role});
}

bool MaskExpression::accept_new(Value* value, MaskRole role) {
  Node* node = value->node();
  if (const auto literal = torch::jit::toIValue(value)) return accept_constant(*literal);
  if (const auto known = facts_.constant(value); known && !known->isTensor()) {
    if (!accept_constant(*known)) return false;  // as a whole: a product of constants reaches farther than they do
  }
  if (node->kind() == prim::GetAttr) return accept_attribute(value);
  if (node->kind() == aten::size) return accept_size(value);
  return accept_operator(node, role) && !(is_tensor(value) && is_written(value));
}

bool MaskExpression::accept_constant(const c10::IValue& constant) {
  constexpr double kNoLength = 1e6;  // larger numbers are what a mask writes, or the open end of a slice
  const auto note = [&](double number) {
    if (std::abs(number) < kNoLength && number != kLowestHalf)  // which a mask writes too
      sum_of_constants_ += static_cast<std::int64_t>(std::ceil(std::abs(number)));
  };
  if (constant.isInt()) note(static_cast<double>(constant.toInt()));
  if (constant.isDouble()) note(constant.toDouble());
  if (constant.isIntList()) {
    for (const std::int64_t number : constant.toIntVector()) note(static_cast<double>(number));
  }
  if (!constant.isTensor()) return true;
  const at::Tensor& tensor = constant.toTensor();
  if (!tensor.defined() || tensor.is_complex()) return false;
  if (tensor.numel() == 1) {
    note(tensor.to(at::kDouble).item<double>());
  } else {
    for (const std::int64_t size : tensor.sizes()) longest_buffer_ = std::max(longest_buffer_, size);
    const bool is_integral = at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false);
    if (is_integral && tensor.numel() > 1) note(tensor.to(at::kDouble).abs().max().item<double>());
  }
  return true;
}

bool MaskExpression::accept_attribute(Value* value) {
  const auto found = facts_.attribute(value);
  if (!found || found->isObject()) return false;
  if (!found->isTensor()) return accept_constant(*found);
  const auto owner = value->node()->input(0)->type()->cast<c10::ClassType>();
  const std::string& name = value->node()->s(attr::name);
  const auto slot = owner ? owner->findAttributeSlot(name) : std::nullopt;
  if (!slot || !owner->is_module() || owner->is_parameter(*slot)) return false;  // a parameter may be trained further
  return accept_constant(*found);
}

// A size of something that the expression does not make is one of its inputs.
bool MaskExpression::accept_size(Value* value) {
  if (value->node()->inputs().size() != 2 || !accept(value->node()->input(1), MaskRole::kCompared)) return false;
  Value* tensor = value->node()->input(0);
  if (!accept(tensor, MaskRole::kCompared)) subgraph_.free_number(value);
  return true;
}

bool MaskExpression::accept_operator(Node* node, MaskRole role) {
  if (node->kind() == prim::ListConstruct) {
    return std::all_of(node->inputs().begin(), node->inputs().end(), [&](Value* input) { return accept(input, role); });
  }
  if (!node->maybeOperator() || node->isNondeterministic() || node->hasSideEffects() || !node->blocks().empty() ||
      node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) {
    return false;
  }
  const auto* schema = node->maybeSchema();
  if (!schema || schema->is_mutable() || !is_position_arithmetic(node, role, facts_)) return false;
  for (std::size_t i = 0; i < node->inputs().size(); ++i) {
    if (!takes_dtype_alone(node, i) && !accept(node->input(i), role_of_operand(node, i, role))) return false;
  }
  return true;
}

std::optional<std::int64_t> MaskExpression::size_of(const SymbolicSize& size, std::int64_t queries,
                                                    std::int64_t keys) const {
  if (size == lengths_.queries) return queries;
  if (size == lengths_.keys) return keys;
  return size.evaluate([&](const SizeSymbol& symbol) -> std::optional<std::int64_t> {
    if (SymbolicSize(symbol) == lengths_.queries) return queries;
    if (SymbolicSize(symbol) == lengths_.keys) return keys;
    return std::nullopt;
  });
}

bool MaskExpression::depends_on_lengths() const {
  return std::any_of(subgraph_.numbers().begin(), subgraph_.numbers().end(), [&](Value* number) {
    const SymbolicSize size = facts_.size_value(number);
    return !size.constant() && size_of(size, 1, 1);
  });
}

std::int64_t MaskExpression::beyond_constants() const { return std::max<std::int64_t>(sum_of_constants_ + 3, 16); }

std::vector<SymbolicSize> MaskExpression::sizes() const {
  std::vector<SymbolicSize> sizes;
  for (Value* number : subgraph_.numbers()) {
    SymbolicSize size = facts_.size_value(number);
    if (std::find(sizes.begin(), sizes.end(), size) == sizes.end()) sizes.push_back(std::move(size));
  }
  return sizes;
}

bool MaskExpression::has_further_sizes() const {
  return std::any_of(subgraph_.numbers().begin(), subgraph_.numbers().end(),
                     [&](Value* number) { return !size_of(facts_.size_value(number), 1, 1); });
}

std::optional<at::Tensor> MaskExpression::run(std::int64_t queries, std::int64_t keys, std::int64_t further) {
  std::vector<c10::IValue> arguments{facts_.module()._ivalue()};
  for (Value* number : subgraph_.numbers()) {
    arguments.emplace_back(size_of(facts_.size_value(number), queries, keys).value_or(further));
  }
  try {
    return subgraph_.run(arguments, 1).front();
  } catch (const std::exception&) {
    return std::nullopt;  // lengths that the original rejects
  }
}

}  // namespace flashconvert::survey
