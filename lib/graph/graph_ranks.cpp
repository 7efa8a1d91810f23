// Ranks of a graph's tensors, and where dimensions come from (graph_facts.h).
#include <algorithm>

#include "graph/calls.h"
#include "graph/graph_facts.h"
#include "graph/views.h"

namespace flashconvert {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;

namespace {

// The operator that makes the list of which the value is an element; null for other values.
Node* division_of(const Value* value) {
  return is_list_access(value->node()) ? value->node()->input(0)->node() : nullptr;
}

}  // namespace

std::optional<std::int64_t> dim_from_end(std::int64_t dim, std::optional<std::int64_t> rank) {
  if (dim < 0) return dim;
  return rank ? std::optional<std::int64_t>(dim - *rank) : std::nullopt;
}

std::optional<std::int64_t> GraphFacts::argument_from_end(Value* argument, Value* of) const {
  const auto index = integer(argument);
  return index ? dim_from_end(*index, rank(of)) : std::nullopt;
}

std::optional<std::int64_t> GraphFacts::rank(Value* tensor) const {
  if (const auto found = ranks_.find(key_of(tensor)); found != ranks_.end()) return found->second;
  if (depth_ > kDeepest) return std::nullopt;
  ++depth_;
  const auto result = find_rank(tensor);
  --depth_;
  if (result || depth_ == 0) ranks_[key_of(tensor)] = result;
  return result;
}

std::optional<std::int64_t> GraphFacts::find_rank(Value* tensor) const {
  if (const auto type = tensor->type()->cast<c10::TensorType>(); type && type->dim()) return *type->dim();
  Node* node = tensor->node();
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::expand", "aten::permute", "aten::ones", "aten::zeros",
                       "aten::full"})) {
    const std::size_t list =
        node->kind() == aten::ones || node->kind() == aten::zeros || node->kind() == aten::full ? 0 : 1;
    const auto sizes = int_list(node->input(list));
    return sizes.empty() ? std::nullopt : std::optional(static_cast<std::int64_t>(sizes.size()));
  }
  if (node->kind() == aten::arange) return 1;
  if (node->kind() == prim::GetAttr) {
    const auto found = attribute(tensor);
    return found && found->isTensor() && found->toTensor().defined() ? std::optional(found->toTensor().dim())
                                                                     : std::nullopt;
  }
  if (is_any_of(node, {"aten::bmm", "aten::baddbmm"})) return 3;
  if (is_any_of(node, {"aten::t", "aten::numpy_T", "aten::mm", "aten::addmm"})) return 2;
  if (has_trait(node, kBroadcasts) || node->kind() == aten::matmul) return rank_of_broadcast(node);
  if (node->kind() == aten::select) {
    const auto inner = rank(node->input(0));
    return inner ? std::optional(*inner - 1) : std::nullopt;
  }
  if (is_any_of(node, {"aten::unsqueeze", "aten::squeeze"})) {
    const auto inner = node->inputs().size() == 2 ? rank(node->input(0)) : std::nullopt;
    return inner ? std::optional(*inner + (node->kind() == aten::unsqueeze ? 1 : -1)) : std::nullopt;
  }
  if (node->kind() == aten::cat) {
    const auto parts = list_elements(node->input(0));
    return parts.empty() ? std::nullopt : rank(parts[0]);
  }
  if (node->kind() == aten::index) return rank_of_indexed(node);
  if (const Node* division = division_of(tensor)) {
    const auto inner = rank(division->input(0));
    return inner && division->kind() == aten::unbind ? std::optional(*inner - 1) : inner;
  }
  const bool keeps_rank = has_trait(node, kKeepsSizes | kPermutes | kSelects) || node->kind() == aten::linear;
  return keeps_rank ? rank(node->input(0)) : std::nullopt;
}

std::optional<std::int64_t> GraphFacts::rank_of_broadcast(Node* node) const {
  std::int64_t highest = 0;
  const bool is_product = node->kind() == aten::matmul;  // of two matrices at least, or unknown
  for (Value* operand : node->inputs()) {
    if (!is_tensor(operand)) continue;
    const auto found = !is_product && number(operand) ? std::optional<std::int64_t>(0) : rank(operand);
    if (!found || (is_product && *found < 2)) return std::nullopt;
    highest = std::max(highest, *found);
  }
  return highest;
}

// One tensor of indices in the place of one dimension.
std::optional<std::int64_t> GraphFacts::rank_of_indexed(Node* node) const {
  Value* indices = nullptr;
  for (Value* element : list_elements(node->input(1))) {
    if (is_none(element)) continue;
    if (indices) return std::nullopt;
    indices = element;
  }
  const auto of_table = rank(node->input(0));
  const auto of_indices = indices ? rank(indices) : std::nullopt;
  return of_table && of_indices ? std::optional(*of_table - 1 + *of_indices) : std::nullopt;
}

std::optional<GraphFacts::TensorDim> GraphFacts::source_of_permuted(Node* node, std::int64_t dim) const {
  if (node->kind() == aten::permute) {
    const auto order = int_list(node->input(1));
    const auto size = static_cast<std::int64_t>(order.size());
    if (size + dim < 0 || !order[size + dim]) return std::nullopt;
    return TensorDim{node->input(0), dim_from_end(*order[size + dim], size).value_or(dim)};
  }
  if (is_any_of(node, {"aten::t", "aten::mT", "aten::mH"})) {
    return TensorDim{node->input(0), dim >= -2 ? -3 - dim : dim};
  }
  if (node->inputs().size() != 3 || node->kind() == aten::movedim) return std::nullopt;
  const auto first = argument_from_end(node->input(1), node->input(0));
  const auto second = argument_from_end(node->input(2), node->input(0));
  if (!first || !second) return std::nullopt;
  return TensorDim{node->input(0), dim == *first || dim == *second ? *first + *second - dim : dim};
}

std::optional<GraphFacts::TensorDim> GraphFacts::source_dimension(Value* tensor, std::int64_t dim) const {
  Node* node = tensor->node();
  if (has_trait(node, kKeepsSizes)) return TensorDim{node->input(0), dim};
  if (has_trait(node, kPermutes)) return source_of_permuted(node, dim);
  if (is_any_of(node, {"aten::slice", "aten::narrow", "aten::unsqueeze"})) {
    const bool is_unsqueezed = node->kind() == aten::unsqueeze;
    const auto changed = argument_from_end(node->input(1), is_unsqueezed ? tensor : node->input(0));
    if (!changed || *changed == dim) return std::nullopt;
    return TensorDim{node->input(0), is_unsqueezed && *changed > dim ? dim + 1 : dim};
  }
  Node* division = division_of(tensor);
  const bool is_unbound = division && division->kind() == aten::unbind;
  if (is_unbound || node->kind() == aten::select) {
    Node* taken = is_unbound ? division : node;
    const auto removed = argument_from_end(taken->input(1), taken->input(0));
    if (!removed) return std::nullopt;
    return TensorDim{taken->input(0), *removed >= dim ? dim - 1 : dim};
  }
  return std::nullopt;
}

std::optional<std::int64_t> GraphFacts::dim_in_view(Value* tensor, std::int64_t dim) const {
  Node* node = tensor->node();
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::unflatten"})) return dim;
  if (has_trait(node, kBroadcasts)) return dim_in_view(node->input(0), dim);
  const auto source = source_dimension(tensor, dim);
  return source ? dim_in_view(source->tensor, source->dim) : std::nullopt;
}

}  // namespace flashconvert
