// Sizes of a graph's tensors (graph_facts.h): where a size comes from, followed up through views, projections,
// submodules and the arithmetic of traces.
#include <algorithm>
#include <cmath>

#include "graph/calls.h"
#include "graph/graph_facts.h"
#include "graph/memory.h"

namespace flashconvert {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;

namespace {

// The split of which the value is a part: every other dimension stays as it was.
Node* split_of(const Value* value) {
  if (value->node()->kind() != prim::ListUnpack) return nullptr;
  Node* split = value->node()->input(0)->node();
  return has_trait(split, kDivides) && split->kind() != aten::unbind && split->inputs().size() == 3 ? split : nullptr;
}

}  // namespace

SizeFacts GraphFacts::size_facts() const {
  SizeFacts facts;
  facts.size_of_dim = [this](Value* tensor, std::int64_t dim) { return std::optional(size(tensor, dim)); };
  facts.constant = [this](Value* value) -> std::optional<std::int64_t> {
    const auto known = number(value);
    if (!known || std::floor(*known) != *known || std::abs(*known) > 9e15) return std::nullopt;
    return static_cast<std::int64_t>(*known);
  };
  return facts;
}

SymbolicSize GraphFacts::size_value(Value* number) const {
  if (const auto found = numbers_.find(key_of(number)); found != numbers_.end()) return found->second;
  if (depth_ > kDeepest) return SizeSymbol{number, SizeSymbol::kNumber};
  ++depth_;
  const SymbolicSize result = symbolic_size(number, size_facts()).value_or(SizeSymbol{number, SizeSymbol::kNumber});
  --depth_;
  return numbers_.emplace(key_of(number), result).first->second;
}

SymbolicSize GraphFacts::size(Value* tensor, std::int64_t dim) const {
  if (dim >= 0) {
    if (const auto known = rank(tensor)) dim -= *known;
  }
  const std::pair<Key, std::int64_t> key{key_of(tensor), dim};
  if (const auto found = sizes_.find(key); found != sizes_.end()) return found->second;
  if (depth_ > kDeepest) return SizeSymbol{tensor, dim};
  ++depth_;
  const SymbolicSize result = find_size(tensor, dim);
  --depth_;
  return sizes_.emplace(key, result).first->second;
}

std::optional<std::int64_t> GraphFacts::size_from_end(Value* tensor, std::int64_t dim) const {
  return size(tensor, dim).constant();
}

SymbolicSize GraphFacts::find_size(Value* tensor, std::int64_t dim) const {
  Node* node = tensor->node();
  const SymbolicSize unknown = SizeSymbol{tensor, dim};
  if (dim < 0) {
    if (const auto source = source_dimension(tensor, dim)) return size(source->tensor, source->dim);
    if (node->kind() == prim::GetAttr) {
      const auto found = attribute(tensor);
      const bool has_dim = found && found->isTensor() && found->toTensor().defined() && found->toTensor().dim() >= -dim;
      return has_dim ? SymbolicSize(found->toTensor().size(dim)) : unknown;
    }
    if (node->kind() == aten::linear) return dim == -1 ? size(node->input(1), -2) : size(node->input(0), dim);
    if (is_any_of(node, {"aten::view", "aten::reshape", "aten::expand"})) {
      return size_in_view(node, dim).value_or(unknown);
    }
    if (has_trait(node, kBroadcasts)) return size_of_broadcast(node, dim).value_or(unknown);
    if (is_any_of(node, {"aten::matmul", "aten::bmm"})) return size_of_product(node, dim).value_or(unknown);
    if (is_any_of(node, {"aten::cat", "aten::unsqueeze", "aten::repeat_interleave"})) {
      return size_of_joined(node, dim).value_or(unknown);
    }
    if (is_any_of(node, {"aten::ones", "aten::zeros", "aten::full"})) {
      return size_of_new_tensor(node, dim).value_or(unknown);
    }
  } else if (has_trait(node, kKeepsSizes) || is_square_projection(node)) {
    return size(node->input(0), dim);
  }
  if (node->kind() == prim::CallMethod) return size_of_result(node, dim).value_or(unknown);
  if (split_of(tensor)) return size_of_part(tensor, dim).value_or(unknown);
  return unknown;
}

std::optional<SymbolicSize> GraphFacts::size_in_view(Node* node, std::int64_t dim) const {
  if (auto length = inferred_length(node, dim)) return length;
  const auto items = is_written(node->input(1)) ? std::nullopt : int_list_items(node->input(1));
  const auto at = items ? static_cast<std::int64_t>(items->size()) + dim : -1;
  if (at < 0) return std::nullopt;
  const IntListItem& item = (*items)[at];
  const SymbolicSize written = item.value != nullptr ? size_value(item.value) : SymbolicSize(item.constant);
  const auto known = written.constant();
  if (!known || *known >= 0) return written;
  const bool is_kept = node->kind() == aten::expand && rank(node->input(0)).value_or(0) >= -dim;
  return is_kept ? std::optional(size(node->input(0), dim)) : std::nullopt;
}

// Broadcasting stretches only sizes of 1: what is left of the others must be one size.
std::optional<SymbolicSize> GraphFacts::size_of_broadcast(Node* node, std::int64_t dim) const {
  std::optional<SymbolicSize> result = SymbolicSize(1);
  for (Value* operand : node->inputs()) {
    if (!is_tensor(operand) || is_size_number(operand) || number(operand)) continue;
    const auto operand_rank = rank(operand);
    if (operand_rank && *operand_rank < -dim) continue;
    const SymbolicSize of_operand = size(operand, dim);
    if (of_operand == SymbolicSize(1)) continue;
    if (of_operand.constant()) return of_operand;
    if (result && *result != SymbolicSize(1) && *result != of_operand) {
      result.reset();  // one of them may be 1
    } else if (result) {
      result = of_operand;
    }
  }
  return result;
}

std::optional<SymbolicSize> GraphFacts::size_of_product(Node* node, std::int64_t dim) const {
  if (dim >= -2) return size(node->input(dim == -2 ? 0 : 1), dim);
  return node->kind() == aten::bmm ? std::optional(size(node->input(0), dim)) : size_of_broadcast(node, dim);
}

std::optional<SymbolicSize> GraphFacts::size_of_joined(Node* node, std::int64_t dim) const {
  if (node->kind() == aten::unsqueeze) {
    return argument_from_end(node->input(1), node->output()) == dim ? std::optional(SymbolicSize(1)) : std::nullopt;
  }
  if (node->kind() == aten::repeat_interleave) {
    if (node->inputs().size() != 4 || is_tensor(node->input(1))) return std::nullopt;
    const auto along = argument_from_end(node->input(2), node->input(0));
    if (!along) return std::nullopt;
    const SymbolicSize whole = size(node->input(0), dim);
    return *along == dim ? whole * size_value(node->input(1)) : whole;
  }
  const auto parts = list_elements(node->input(0));
  const auto along = parts.empty() ? std::nullopt : argument_from_end(node->input(1), parts[0]);
  if (!along) return std::nullopt;
  if (*along != dim) return size(parts[0], dim);
  SymbolicSize sum;
  for (Value* part : parts) sum = sum + size(part, dim);
  return sum;
}

std::optional<SymbolicSize> GraphFacts::size_of_new_tensor(Node* node, std::int64_t dim) const {
  const auto items = int_list_items(node->input(0));
  const auto at = items ? static_cast<std::int64_t>(items->size()) + dim : -1;
  if (at < 0) return std::nullopt;
  return (*items)[at].value != nullptr ? size_value((*items)[at].value) : SymbolicSize((*items)[at].constant);
}

// Of a part along the split dimension: the parts of one size are alike, and one that does not divide it is unknown.
std::optional<SymbolicSize> GraphFacts::size_of_part(Value* part, std::int64_t dim) const {
  Node* split = split_of(part);
  const auto argument = integer(split->input(2));
  if (!argument) return std::nullopt;
  Value* whole = split->input(0);
  if (const auto along = dim_from_end(*argument, rank(whole))) {
    if (dim < 0 && *along != dim) return size(whole, dim);
    const auto known = size_from_end(whole, *along);
    const auto parts = integer(split->input(1));  // how many, or the size of one
    const bool is_list = !split->input(1)->type()->isSubtypeOf(*c10::IntType::get());
    if (!known || !parts || is_list || *parts < 1 || *known % *parts != 0) return std::nullopt;
    const bool by_size = split->kind() == aten::split;
    if (*along == dim) return SymbolicSize(by_size ? *parts : *known / *parts);
    return SizeSymbol{part->node()->output(0), dim};
  }
  if ((*argument < 0) == (dim < 0) && *argument != dim) return size(whole, dim);
  return std::nullopt;
}

// As many features out as in: every size is that of the input, whichever dimension is the last.
bool GraphFacts::is_square_projection(Node* node) const {
  if (node->kind() != aten::linear) return false;
  const auto features = size_from_end(node->input(1), -1);
  return features && features == size_from_end(node->input(1), -2);
}

// The size of a submodule's result, from those of what it is given.
std::optional<SymbolicSize> GraphFacts::size_of_result(Node* call, std::int64_t dim) const {
  const auto callee = attribute(call->input(0));
  Value* result = only_result(call);
  if (!callee || !callee->isObject() || !result) return std::nullopt;
  return facts_of(callee->toObject()).size(result, dim).substitute([&](const SizeSymbol& symbol) {
    std::optional<SymbolicSize> given;
    if (symbol.value->node() != result->owningGraph()->param_node()) return given;
    Value* argument = call->input(symbol.value->offset());
    given = symbol.dim == SizeSymbol::kNumber ? size_value(argument) : size(argument, symbol.dim);
    return given;
  });
}

// [batch, -1, heads, features] of a projection of [batch, length, width]: the length of what is projected.
std::optional<SymbolicSize> GraphFacts::inferred_length(Node* view, std::int64_t dim) const {
  if (!is_any_of(view, {"aten::view", "aten::reshape"})) return std::nullopt;
  const auto sizes = list_elements(view->input(1));
  if (sizes.size() < 3 || static_cast<std::int64_t>(sizes.size()) + dim != 1 || integer(sizes[1]) != -1) {
    return std::nullopt;
  }
  std::int64_t width = 1;
  for (std::size_t i = 2; i < sizes.size(); ++i) width *= integer(sizes[i]).value_or(0);
  Value* projected = view->input(0);
  if (width == 0 || size_from_end(projected, -1) != width) return std::nullopt;
  const auto length = size(projected, -2).symbol();
  if (!length || length->dim != -2 || size_value(sizes[0]) != size(const_cast<Value*>(length->value), 0)) {
    return std::nullopt;
  }
  return size(const_cast<Value*>(length->value), 1);
}

}  // namespace flashconvert
