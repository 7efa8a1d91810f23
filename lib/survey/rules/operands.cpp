// The operands of the products: transposes that cancel, number factors under views, repeated key/value heads.
#include <torch/csrc/jit/ir/ir.h>

#include <numeric>
#include <string>
#include <vector>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

// Operators that move elements without changing them, so that a factor commutes with them.
bool is_layout(const Node* node) {
  return has_trait(node, kCopies | kPermutes | kReshapes) && !has_trait(node, kWrites);
}

std::optional<std::vector<std::int64_t>> constant_order(const Node* permute, const MethodFacts& facts) {
  std::vector<std::int64_t> order;
  const auto dims = facts.int_list(permute->input(1));
  for (const auto& dim : dims) {
    if (!dim) return std::nullopt;
    order.push_back(*dim < 0 ? *dim + static_cast<std::int64_t>(dims.size()) : *dim);
  }
  if (order.size() < 2) return std::nullopt;
  return order;
}

}  // namespace

bool swaps_last_two(const Node* node, const MethodFacts& facts) {
  if (node->kind() != aten::transpose && node->kind() != c10::Symbol::fromQualString("aten::swapaxes")) return false;
  const auto a = facts.integer(node->input(1));
  const auto b = facts.integer(node->input(2));
  if (!a || !b) return false;
  auto rank = facts.rank(node->input(0));
  if (!rank && std::max(*a, *b) == 3) rank = 4;  // a fourth dimension exists; the probe tries the ranks that run
  const auto first = dim_from_end(*a, rank);
  const auto second = dim_from_end(*b, rank);
  return first && second && std::min(*first, *second) == -2 && std::max(*first, *second) == -1;
}

Operand simplify_operand(Operand operand, const MethodFacts& facts) {
  if (!operand.swap_last) return operand;
  Node* node = operand.root->node();
  if (swaps_last_two(node, facts)) return Operand{node->input(0), {}, false};
  if (node->kind() == aten::permute) {
    if (auto order = constant_order(node, facts)) {
      std::swap((*order)[order->size() - 1], (*order)[order->size() - 2]);
      return Operand{node->input(0), *order, false};
    }
  }
  return operand;
}

Value* without_scale(Value* value, double& scale, Node* before, std::vector<Node*>& passed, const MethodFacts& facts) {
  Node* node = value->node();
  const std::string name = kind_name(node);
  if (name == "aten::mul" || (name == "aten::div" && node->inputs().size() == 2)) {
    for (const std::size_t side : {std::size_t{1}, std::size_t{0}}) {
      if (side == 0 && name == "aten::div") break;
      const auto factor = facts.number(node->input(side));
      if (!factor || *factor == 0 || !std::isfinite(*factor)) continue;
      if (!node->input(1 - side)->type()->isSubtypeOf(*c10::TensorType::get())) continue;
      scale *= name == "aten::div" ? 1 / *factor : *factor;
      passed.push_back(node);
      return without_scale(node->input(1 - side), scale, before, passed, facts);
    }
  }
  if (!is_layout(node)) return value;
  Value* inner = without_scale(node->input(0), scale, before, passed, facts);
  if (inner == node->input(0)) return value;
  passed.push_back(node);
  Node* copy =
      value->owningGraph()->createClone(node, [&](Value* input) { return input == node->input(0) ? inner : input; });
  copy->insertBefore(before);
  return copy->output();
}

SymbolicSize length_of(const Operand& operand, const MethodFacts& facts) {
  const auto rank = static_cast<std::int64_t>(operand.order.size());
  return facts.size(operand.root, rank > 0 ? operand.order[rank - 2] - rank : operand.swap_last ? -1 : -2);
}

std::optional<Repeated> repeated_heads(Value* value, const MethodFacts& facts) {
  Node* node = value->node();
  if (kind_name(node) == "aten::repeat_interleave" && node->inputs().size() == 4) {
    const auto times = facts.integer(node->input(1));
    const auto dim = facts.integer(node->input(2));
    const auto from_end = dim ? dim_from_end(*dim, facts.rank(node->input(0)).value_or(4)) : std::nullopt;
    if (times && from_end && *from_end == -3) return Repeated{node->input(0), *times};
    return std::nullopt;
  }
  // reshape(expand(unsqueeze(x, 2), [B, Hkv, n, L, D]), [B, Hkv * n, L, D]); the unsqueeze may be a slice with None.
  if (node->kind() != aten::reshape) return std::nullopt;
  const Node* expand = node->input(0)->node();
  if (expand->kind() != aten::expand) return std::nullopt;
  const auto expanded = facts.int_list(expand->input(1));
  const auto joined = facts.int_list(node->input(1));
  if (expanded.size() != 5 || joined.size() != 4 || !expanded[2] || *expanded[2] < 1) return std::nullopt;
  Node* inserted = expand->input(0)->node();
  while (inserted->kind() == aten::slice) {  // k[:, :, None, :, :] leaves full slices behind
    const auto start = facts.constant(inserted->input(2));
    const auto end = facts.constant(inserted->input(3));
    const auto step = facts.integer(inserted->input(4));
    const bool whole = (!start || start->isNone() || start->toInt() == 0) && end &&
                       (end->isNone() || end->toInt() == std::numeric_limits<std::int64_t>::max()) && step == 1;
    if (!whole || !start) return std::nullopt;
    inserted = inserted->input(0)->node();
  }
  if (inserted->kind() != aten::unsqueeze) return std::nullopt;
  const auto dim = facts.integer(inserted->input(1));
  if (!dim || (*dim != 2 && *dim != -3)) return std::nullopt;
  Value* heads = inserted->input(0);
  while (heads->node()->kind() == aten::slice) {
    const Node* slice = heads->node();
    const auto start = facts.constant(slice->input(2));
    const auto end = facts.constant(slice->input(3));
    const bool whole = start && (start->isNone() || (start->isInt() && start->toInt() == 0)) && end &&
                       (end->isNone() || end->toInt() == std::numeric_limits<std::int64_t>::max());
    if (!whole) break;
    heads = slice->input(0);
  }
  return Repeated{heads, *expanded[2]};
}

}  // namespace flashconvert::survey
