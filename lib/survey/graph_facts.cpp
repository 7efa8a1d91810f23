// Constants, ranks and sizes of a graph's values (graph_facts.h).
#include "survey/graph_facts.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

#include <regex>

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;
namespace attr = c10::attr;

namespace {

constexpr int kDepth = 48;                           // of an evaluated expression; deeper ones count as unknown
constexpr std::int64_t kLargestParameter = 1 << 28;  // elements, of tables that are evaluated for their shape

bool small_enough(const c10::IValue& value, std::int64_t elements) {
  return !value.isTensor() || !value.toTensor().defined() || value.toTensor().numel() <= elements;
}

bool is_any_of(const Node* node, std::initializer_list<const char*> names) {
  const std::string name = kind_name(node);
  return std::any_of(names.begin(), names.end(), [&](const char* other) { return name == other; });
}

// Operators whose result has the shape of their first input.
bool keeps_shape(const Node* node) {
  return is_any_of(
      node, {"aten::to", "aten::contiguous", "aten::clone", "aten::detach", "aten::dropout", "aten::dropout_",
             "aten::softmax", "aten::_softmax", "aten::type_as", "aten::float", "aten::half", "aten::tanh", "aten::neg",
             "aten::masked_fill", "aten::masked_fill_", "aten::layer_norm", "aten::sigmoid", "aten::alias"});
}

// Elementwise operators with two operands; the shape is that of the first where the second is a number.
bool is_binary(const Node* node) {
  return is_any_of(node, {"aten::mul", "aten::div", "aten::add", "aten::sub", "aten::mul_", "aten::div_", "aten::add_",
                          "aten::sub_"});
}

std::optional<std::size_t> known_size(std::optional<std::int64_t> size) {
  return size ? std::optional<std::size_t>(static_cast<std::size_t>(*size)) : std::nullopt;
}

}  // namespace

std::string kind_name(const Node* node) { return node->kind().toQualString(); }

std::string class_name(const c10::TypePtr& type) {
  const auto cls = type->cast<c10::ClassType>();
  if (!cls || !cls->name()) return "";
  static const std::regex mangled(R"(\.___torch_mangle_\d+)");
  std::string name = std::regex_replace(cls->name()->qualifiedName(), mangled, "");
  const std::string prefix = "__torch__.";
  return name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
}

std::optional<std::int64_t> dim_from_end(std::int64_t dim, std::optional<std::int64_t> rank) {
  if (dim < 0) return dim;
  return rank ? std::optional<std::int64_t>(dim - *rank) : std::nullopt;
}

std::optional<c10::IValue> GraphFacts::constant(Value* value) const { return evaluate(value, kDepth, Limits{}); }

std::optional<at::Tensor> GraphFacts::run(Value* value) const {
  if (!is_independent_of_inputs(value)) return std::nullopt;
  const auto found = evaluate(value, kDepth, Limits{true, kLargestParameter});
  if (!found || !found->isTensor() || !found->toTensor().defined()) return std::nullopt;
  return found->toTensor();
}

std::optional<std::vector<std::int64_t>> GraphFacts::shape(Value* value) const {
  const auto tensor = run(value);
  return tensor ? std::optional(tensor->sizes().vec()) : std::nullopt;
}

std::optional<double> GraphFacts::number(Value* value) const {
  const auto found = constant(value);
  if (!found) return std::nullopt;
  if (found->isDouble()) return found->toDouble();
  if (found->isInt()) return static_cast<double>(found->toInt());
  if (found->isBool()) return found->toBool() ? 1.0 : 0.0;
  if (found->isTensor() && found->toTensor().defined() && found->toTensor().numel() == 1 &&
      !found->toTensor().is_complex()) {
    return found->toTensor().to(at::kDouble).item<double>();
  }
  return std::nullopt;
}

std::optional<std::int64_t> GraphFacts::integer(Value* value) const {
  const auto found = constant(value);
  if (found && found->isInt()) return found->toInt();
  return std::nullopt;
}

std::optional<bool> GraphFacts::boolean(Value* value) const {
  const auto found = constant(value);
  if (found && found->isBool()) return found->toBool();
  return std::nullopt;
}

std::optional<c10::IValue> GraphFacts::attribute(Value* value) const {
  const Node* node = value->node();
  if (node->kind() != prim::GetAttr) {
    // `self` itself is the method's first input.
    const auto inputs = value->owningGraph()->inputs();
    if (!inputs.empty() && value == inputs[0] && value->type()->cast<c10::ClassType>()) return module_._ivalue();
    return std::nullopt;
  }
  const auto owner = attribute(node->input(0));
  if (!owner || !owner->isObject()) return std::nullopt;
  const auto object = owner->toObject();
  const std::string& name = node->s(attr::name);
  if (const auto slot = object->type()->findAttributeSlot(name)) return object->getSlot(*slot);
  if (const auto slot = object->type()->findConstantSlot(name)) return object->type()->getConstant(*slot);
  return std::nullopt;
}

std::optional<c10::IValue> GraphFacts::evaluate(Value* value, int depth, Limits limits) const {
  if (depth == 0) return std::nullopt;
  if (auto literal = torch::jit::toIValue(value)) return literal;
  Node* node = value->node();
  if (node->kind() == prim::GetAttr) {
    auto found = attribute(value);
    if (!found || found->isObject() || !small_enough(*found, limits.elements)) return std::nullopt;
    if (found->isTensor() && !found->toTensor().defined()) return std::nullopt;
    if (found->isTensor() && !limits.parameters) {
      const auto owner = node->input(0)->type()->cast<c10::ClassType>();
      const auto slot = owner ? owner->findAttributeSlot(node->s(attr::name)) : std::nullopt;
      if (!slot || owner->is_parameter(*slot)) return std::nullopt;
    }
    return found;
  }
  if (node->kind() == aten::size && node->inputs().size() == 2) {
    const auto dim = evaluate(node->input(1), depth - 1, limits);
    if (!dim || !dim->isInt()) return std::nullopt;
    const auto from_end = dim_from_end(dim->toInt(), rank(node->input(0)));
    if (!from_end) return std::nullopt;
    if (const auto size = size_from_end(node->input(0), *from_end)) return c10::IValue(*size);
    return std::nullopt;
  }
  if (node->kind() == prim::ListConstruct && value->type()->isSubtypeOf(*c10::ListType::ofInts())) {
    c10::List<std::int64_t> list;
    for (Value* element : node->inputs()) {
      const auto item = evaluate(element, depth - 1, limits);
      if (!item || !item->isInt()) return std::nullopt;
      list.push_back(item->toInt());
    }
    return c10::IValue(list);
  }
  if (node->kind() == prim::ListConstruct && limits.parameters) {
    c10::List<std::optional<at::Tensor>> list;  // the indices of aten::index
    for (Value* element : node->inputs()) {
      const auto item = evaluate(element, depth - 1, limits);
      if (!item || !(item->isTensor() || item->isNone())) return std::nullopt;
      list.push_back(item->toOptional<at::Tensor>());
    }
    return c10::IValue(list);
  }
  if (node->kind() == prim::CallMethod && limits.parameters && node->outputs().size() == 1) {
    const auto callee = attribute(node->input(0));
    if (!callee || !callee->isObject()) return std::nullopt;
    torch::jit::Stack arguments;
    for (std::size_t i = 1; i < node->inputs().size(); ++i) {
      auto item = evaluate(node->input(i), depth - 1, limits);
      if (!item) return std::nullopt;
      arguments.push_back(*item);
    }
    try {
      torch::NoGradGuard no_grad;
      return torch::jit::Module(callee->toObject()).get_method(node->s(attr::name))(arguments);
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
  if (!node->maybeOperator() || node->isNondeterministic() || node->hasSideEffects() || !node->blocks().empty() ||
      node->kind() == prim::CallMethod || node->kind() == prim::CallFunction || node->outputs().size() != 1 ||
      node->schema().is_mutable()) {
    return std::nullopt;
  }
  torch::jit::Stack stack;
  for (Value* input : node->inputs()) {
    auto item = evaluate(input, depth - 1, limits);
    if (!item) return std::nullopt;
    stack.push_back(*item);
  }
  try {
    torch::NoGradGuard no_grad;
    node->getOperation()(stack);
  } catch (const std::exception&) {
    return std::nullopt;  // a branch that never runs may hold an expression that cannot
  }
  if (stack.size() != 1 || !small_enough(stack.back(), limits.elements)) return std::nullopt;
  return stack.back();
}

bool GraphFacts::is_none(Value* value) const {
  const auto found = constant(value);
  return found && found->isNone();
}

std::vector<Value*> GraphFacts::list_elements(Value* list) {
  if (list->node()->kind() != prim::ListConstruct) return {};
  return list->node()->inputs().vec();
}

std::vector<std::optional<std::int64_t>> GraphFacts::int_list(Value* list) const {
  std::vector<std::optional<std::int64_t>> sizes;
  if (list->node()->kind() == prim::ListConstruct) {
    for (Value* element : list->node()->inputs()) sizes.push_back(integer(element));
  } else if (const auto whole = constant(list); whole && whole->isIntList()) {
    for (const std::int64_t size : whole->toIntVector()) sizes.emplace_back(size);
  }
  return sizes;
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

std::optional<std::int64_t> GraphFacts::size_from_end(Value* tensor, std::int64_t dim) const {
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
  if (keeps_shape(node)) return size_from_end(node->input(0), dim);
  if (is_binary(node)) {
    const auto left = size_from_end(node->input(0), dim);
    if ((left && *left > 1) || number(node->input(1))) return left;  // broadcasting stretches only a size of 1
    return std::nullopt;
  }
  if (is_any_of(node, {"aten::transpose", "aten::transpose_"})) {
    const auto inner_rank = rank(node->input(0));
    const auto a = integer(node->input(1));
    const auto b = integer(node->input(2));
    const auto from = a ? dim_from_end(*a, inner_rank) : std::nullopt;
    const auto to = b ? dim_from_end(*b, inner_rank) : std::nullopt;
    if (!from || !to) return std::nullopt;
    const std::int64_t first = from.value_or(0);
    const std::int64_t second = to.value_or(0);
    if (dim == first || dim == second) dim = first + second - dim;
    return size_from_end(node->input(0), dim);
  }
  if (node->kind() == aten::permute) {
    const auto order = int_list(node->input(1));
    const auto at = static_cast<std::int64_t>(order.size()) + dim;
    if (at < 0 || !order[at]) return std::nullopt;
    const auto from = dim_from_end(*order[at], static_cast<std::int64_t>(order.size()));
    return from ? size_from_end(node->input(0), *from) : std::nullopt;
  }
  if (node->kind() == aten::linear) {
    return dim == -1 ? size_from_end(node->input(1), -2) : size_from_end(node->input(0), dim);
  }
  if (node->kind() == aten::slice && node->inputs().size() == 5) {
    const auto sliced = integer(node->input(1));
    const auto from_end = sliced ? dim_from_end(*sliced, rank(node->input(0))) : std::nullopt;
    if (!from_end || *from_end == dim) return std::nullopt;
    return size_from_end(node->input(0), dim);
  }
  if (node->kind() == aten::select) {
    const auto selected = integer(node->input(1));
    const auto from_end = selected ? dim_from_end(*selected, rank(node->input(0))) : std::nullopt;
    if (!from_end) return std::nullopt;
    return size_from_end(node->input(0), *from_end >= dim ? dim - 1 : dim);
  }
  if (node->kind() == aten::unsqueeze) {
    const auto added = integer(node->input(1));
    const auto outer_rank = rank(tensor);
    const auto from_end = added ? dim_from_end(*added, outer_rank) : std::nullopt;
    if (!from_end) return std::nullopt;
    if (*from_end == dim) return 1;
    return size_from_end(node->input(0), *from_end > dim ? dim + 1 : dim);
  }
  if (node->kind() == aten::cat && dim != -1) {
    const auto parts = list_elements(node->input(0));
    const auto joined = integer(node->input(1));
    if (parts.empty() || !joined) return std::nullopt;
    const auto from_end = dim_from_end(*joined, rank(parts[0]));
    return from_end && *from_end != dim ? size_from_end(parts[0], dim) : std::nullopt;
  }
  if (node->kind() == prim::ListUnpack) {
    const Node* split = node->input(0)->node();
    if (split->kind() == aten::unbind) {
      const auto removed = integer(split->input(1));
      const auto from_end = removed ? dim_from_end(*removed, rank(split->input(0))) : std::nullopt;
      if (!from_end) return std::nullopt;
      return size_from_end(split->input(0), *from_end >= dim ? dim - 1 : dim);
    }
    if (split->kind() == aten::chunk || split->kind() == aten::split) {
      const auto along = integer(split->input(2));
      const auto from_end = along ? dim_from_end(*along, rank(split->input(0))) : std::nullopt;
      const auto whole = size_from_end(split->input(0), dim);
      if (!from_end || *from_end != dim) return from_end ? whole : std::nullopt;
      const auto count = known_size(integer(split->input(1)));
      if (split->kind() == aten::split) return count ? std::optional<std::int64_t>(*count) : std::nullopt;
      if (!whole || !count || *whole % static_cast<std::int64_t>(*count) != 0) return std::nullopt;
      return *whole / static_cast<std::int64_t>(*count);
    }
  }
  if (node->kind() == prim::CallMethod &&
      dim == -1) {  // a projection, whatever class it is: its weight tells the width
    const auto callee = attribute(node->input(0));
    const auto type = node->input(0)->type()->cast<c10::ClassType>();
    auto* method = type ? type->findMethod(node->s(attr::name)) : nullptr;
    auto* function = method ? torch::jit::tryToGraphFunction(*method) : nullptr;
    if (!callee || !callee->isObject() || !function || function->graph()->outputs().size() != 1) return std::nullopt;
    return GraphFacts(torch::jit::Module(callee->toObject())).size_from_end(function->graph()->outputs()[0], -1);
  }
  return std::nullopt;
}

bool GraphFacts::is_size_number(Value* value) const {
  Node* node = value->node();
  if (node->kind() == prim::NumToTensor) return true;
  if (const auto literal = torch::jit::toIValue(value)) {
    return !literal->isTensor() || (literal->toTensor().defined() && literal->toTensor().dim() == 0);
  }
  const bool is_arithmetic =
      is_any_of(node, {"aten::floor_divide", "aten::pow", "aten::sqrt", "aten::rsqrt", "aten::reciprocal", "aten::mul",
                       "aten::div", "aten::add", "aten::sub", "aten::to", "aten::detach", "aten::neg"});
  if (!is_arithmetic) return false;
  for (Value* input : node->inputs()) {
    if (input->type()->isSubtypeOf(*c10::TensorType::get()) && !is_size_number(input)) return false;
  }
  return true;
}

std::optional<std::int64_t> GraphFacts::dim_in_view(Value* tensor, std::int64_t dim) const {
  Node* node = tensor->node();
  if (is_any_of(node, {"aten::view", "aten::reshape", "aten::unflatten"})) return dim;
  if (keeps_shape(node) || is_binary(node)) return dim_in_view(node->input(0), dim);
  const auto inner_rank = [&] { return rank(node->input(0)); };
  if (node->kind() == aten::transpose) {
    const auto a = integer(node->input(1));
    const auto b = integer(node->input(2));
    const auto from = a ? dim_from_end(*a, inner_rank()) : std::nullopt;
    const auto to = b ? dim_from_end(*b, inner_rank()) : std::nullopt;
    if (!from || !to) return std::nullopt;
    const std::int64_t first = from.value_or(0);
    const std::int64_t second = to.value_or(0);
    return dim_in_view(node->input(0), dim == first || dim == second ? first + second - dim : dim);
  }
  if (node->kind() == aten::permute) {
    const auto order = int_list(node->input(1));
    const auto size = static_cast<std::int64_t>(order.size());
    if (size + dim < 0 || !order[size + dim]) return std::nullopt;
    return dim_in_view(node->input(0), dim_from_end(*order[size + dim], size).value_or(dim));
  }
  const bool is_unbound = node->kind() == prim::ListUnpack && node->input(0)->node()->kind() == aten::unbind;
  if (is_unbound || node->kind() == aten::select) {
    Node* taken = is_unbound ? node->input(0)->node() : node;
    const auto along = integer(taken->input(1));
    const auto removed = along ? dim_from_end(*along, rank(taken->input(0))) : std::nullopt;
    if (!removed) return std::nullopt;
    return dim_in_view(taken->input(0), *removed >= dim ? dim - 1 : dim);
  }
  return std::nullopt;
}

bool GraphFacts::is_independent_of_inputs(Value* value) const {
  std::vector<Value*> pending{value};
  std::unordered_set<Value*> seen;
  const auto inputs = value->owningGraph()->inputs();
  while (!pending.empty()) {
    Value* current = pending.back();
    pending.pop_back();
    if (!seen.insert(current).second) continue;
    if (current->node()->kind() == prim::Param) {
      if (!inputs.empty() && current == inputs[0] && current->type()->cast<c10::ClassType>()) continue;
      return false;
    }
    if (!current->node()->blocks().empty()) return false;
    for (Value* input : current->node()->inputs()) pending.push_back(input);
  }
  return true;
}

}  // namespace flashconvert::survey
