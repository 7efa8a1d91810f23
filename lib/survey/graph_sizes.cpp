// Ranks and sizes of a graph's values (graph_facts.h).

#include "common/function_with_graph.h"
#include "survey/graph_facts.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;
namespace attr = c10::attr;

namespace {

// Elementwise operators with two operands; the shape is that of the first where the second is a number.
bool is_binary(const Node* node) {
  return is_any_of(node, {"aten::mul", "aten::div", "aten::add", "aten::sub", "aten::mul_", "aten::div_", "aten::add_",
                          "aten::sub_"});
}

}  // namespace

bool keeps_shape(const Node* node) {
  return is_any_of(
      node, {"aten::to", "aten::contiguous", "aten::clone", "aten::detach", "aten::dropout", "aten::dropout_",
             "aten::softmax", "aten::_softmax", "aten::type_as", "aten::float", "aten::half", "aten::tanh", "aten::neg",
             "aten::masked_fill", "aten::masked_fill_", "aten::layer_norm", "aten::sigmoid", "aten::alias"});
}

Value* only_result(const Node* call) {
  const auto type = call->input(0)->type()->cast<c10::ClassType>();
  auto* function = type ? function_with_graph(type->findMethod(call->s(attr::name))) : nullptr;
  if (!function || function->graph()->outputs().size() != 1) return nullptr;
  return function->graph()->outputs()[0];
}

std::optional<std::int64_t> dim_from_end(std::int64_t dim, std::optional<std::int64_t> rank) {
  if (dim < 0) return dim;
  return rank ? std::optional<std::int64_t>(dim - *rank) : std::nullopt;
}

std::optional<std::int64_t> GraphFacts::rank(Value* tensor) const {
  if (const auto type = tensor->type()->cast<c10::TensorType>(); type && type->dim()) return *type->dim();
  Node* node = tensor->node();
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::expand", "aten::permute"})) {
    const auto sizes = int_list(node->input(1));
    if (!sizes.empty()) return static_cast<std::int64_t>(sizes.size());
    return std::nullopt;
  }
  if (node->kind() == prim::GetAttr) {
    const auto found = attribute(tensor);
    return found && found->isTensor() && found->toTensor().defined() ? std::optional(found->toTensor().dim())
                                                                     : std::nullopt;
  }
  if (keeps_shape(node) || is_any_of(node, {"aten::transpose", "aten::transpose_", "aten::linear", "aten::slice"})) {
    return rank(node->input(0));
  }
  if (is_any_of(node, {"aten::bmm", "aten::baddbmm"})) return 3;
  if (node->kind() == aten::t || node->kind() == aten::numpy_T) return 2;
  if (is_binary(node)) {
    const auto left = rank(node->input(0));
    if (!node->input(1)->type()->isSubtypeOf(*c10::TensorType::get()) || number(node->input(1))) return left;
    const auto right = rank(node->input(1));
    if (left && right) return std::max(*left, *right);
    return std::nullopt;
  }
  if (node->kind() == aten::matmul) {
    const auto left = rank(node->input(0));
    const auto right = rank(node->input(1));
    if (left && right && *left >= 2 && *right >= 2) return std::max(*left, *right);
    return std::nullopt;
  }
  if (is_any_of(node, {"aten::unsqueeze", "aten::select", "aten::squeeze"})) {
    if (node->kind() == aten::squeeze && node->inputs().size() != 2) return std::nullopt;
    const auto inner = rank(node->input(0));
    if (!inner) return std::nullopt;
    return node->kind() == aten::unsqueeze ? *inner + 1 : *inner - 1;
  }
  if (node->kind() == aten::cat) {
    const auto parts = list_elements(node->input(0));
    return parts.empty() ? std::nullopt : rank(parts[0]);
  }
  if (node->kind() == aten::index) {  // one tensor of indices in the place of one dimension
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
  if (node->kind() == prim::ListUnpack) {
    const Node* split = node->input(0)->node();
    if (is_any_of(split, {"aten::chunk", "aten::split", "aten::split_with_sizes", "aten::tensor_split"})) {
      return rank(split->input(0));
    }
    if (split->kind() == aten::unbind) {
      const auto inner = rank(split->input(0));
      return inner ? std::optional<std::int64_t>(*inner - 1) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<GraphFacts::Dimension> GraphFacts::source_dimension(Value* tensor, std::int64_t dim) const {
  Node* node = tensor->node();
  const auto from_end = [this](Value* argument, Value* of) -> std::optional<std::int64_t> {
    const auto index = integer(argument);
    return index ? dim_from_end(*index, rank(of)) : std::nullopt;
  };
  if (keeps_shape(node)) return Dimension{node->input(0), dim};
  if (is_any_of(node, {"aten::transpose", "aten::transpose_"})) {
    const auto first = from_end(node->input(1), node->input(0));
    const auto second = from_end(node->input(2), node->input(0));
    if (!first || !second) return std::nullopt;
    const std::int64_t a = first.value_or(0);
    const std::int64_t b = second.value_or(0);
    return Dimension{node->input(0), dim == a || dim == b ? a + b - dim : dim};
  }
  if (node->kind() == aten::permute) {
    const auto order = int_list(node->input(1));
    const auto size = static_cast<std::int64_t>(order.size());
    if (size + dim < 0 || !order[size + dim]) return std::nullopt;
    return Dimension{node->input(0), dim_from_end(*order[size + dim], size).value_or(dim)};
  }
  if (node->kind() == aten::slice && node->inputs().size() == 5) {
    const auto sliced = from_end(node->input(1), node->input(0));
    if (!sliced || *sliced == dim) return std::nullopt;
    return Dimension{node->input(0), dim};
  }
  if (node->kind() == aten::unsqueeze) {
    const auto added = from_end(node->input(1), tensor);
    if (!added || *added == dim) return std::nullopt;
    return Dimension{node->input(0), *added > dim ? dim + 1 : dim};
  }
  const bool is_unbound = node->kind() == prim::ListUnpack && node->input(0)->node()->kind() == aten::unbind;
  if (is_unbound || node->kind() == aten::select) {
    Node* taken = is_unbound ? node->input(0)->node() : node;
    const auto removed = from_end(taken->input(1), taken->input(0));
    if (!removed) return std::nullopt;
    return Dimension{taken->input(0), *removed >= dim ? dim - 1 : dim};
  }
  return std::nullopt;
}

std::optional<std::int64_t> GraphFacts::size_from_end(Value* tensor, std::int64_t dim) const {
  if (const auto source = source_dimension(tensor, dim)) return size_from_end(source->tensor, source->dim);
  Node* node = tensor->node();
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::expand"})) {
    const auto sizes = int_list(node->input(1));
    const auto at = static_cast<std::int64_t>(sizes.size()) + dim;
    if (at < 0 || !sizes[at] || *sizes[at] < 0) return std::nullopt;
    return sizes[at];
  }
  if (node->kind() == prim::GetAttr) {
    const auto found = attribute(tensor);
    if (!found || !found->isTensor() || !found->toTensor().defined() || found->toTensor().dim() < -dim) {
      return std::nullopt;
    }
    return found->toTensor().size(dim);
  }
  if (is_binary(node)) {
    const auto left = size_from_end(node->input(0), dim);
    if ((left && *left > 1) || number(node->input(1))) return left;  // broadcasting stretches only a size of 1
    return std::nullopt;
  }
  if (node->kind() == aten::linear) {
    return dim == -1 ? size_from_end(node->input(1), -2) : size_from_end(node->input(0), dim);
  }
  if (node->kind() == aten::unsqueeze) {
    const auto added = integer(node->input(1));
    return added && dim_from_end(*added, rank(tensor)) == dim ? std::optional<std::int64_t>(1) : std::nullopt;
  }
  if (node->kind() == aten::cat && dim != -1) {
    const auto parts = list_elements(node->input(0));
    const auto joined = integer(node->input(1));
    if (parts.empty() || !joined) return std::nullopt;
    const auto along = dim_from_end(*joined, rank(parts[0]));
    return along && *along != dim ? size_from_end(parts[0], dim) : std::nullopt;
  }
  if (node->kind() == prim::ListUnpack) return size_of_part(node->input(0)->node(), dim);
  if (node->kind() == prim::CallMethod && dim == -1) {  // a projection of any class: its weight tells the width
    const auto callee = attribute(node->input(0));
    Value* result = only_result(node);
    if (!callee || !callee->isObject() || !result) return std::nullopt;
    return GraphFacts(torch::jit::Module(callee->toObject())).size_from_end(result, -1);
  }
  return std::nullopt;
}

std::optional<std::int64_t> GraphFacts::size_of_part(Node* split, std::int64_t dim) const {
  if (split->kind() != aten::chunk && split->kind() != aten::split) return std::nullopt;
  const auto argument = integer(split->input(2));
  const auto along = argument ? dim_from_end(*argument, rank(split->input(0))) : std::nullopt;
  const auto whole = size_from_end(split->input(0), dim);
  if (!along || *along != dim) return along ? whole : std::nullopt;
  const auto number = integer(split->input(1));  // of chunks, or the size of a part
  if (!whole || !number || *number < 1 || *whole % *number != 0) return std::nullopt;
  return split->kind() == aten::split ? *number : *whole / *number;
}

std::optional<std::int64_t> GraphFacts::dim_in_view(Value* tensor, std::int64_t dim) const {
  Node* node = tensor->node();
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::unflatten"})) return dim;
  if (is_binary(node)) return dim_in_view(node->input(0), dim);
  const auto source = source_dimension(tensor, dim);
  return source ? dim_in_view(source->tensor, source->dim) : std::nullopt;
}

}  // namespace flashconvert::survey
