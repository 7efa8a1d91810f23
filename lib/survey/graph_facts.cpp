// Constants of a graph's values (graph_facts.h); ranks and sizes are in graph_sizes.cpp.
#include "survey/graph_facts.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

#include <regex>
#include <string_view>

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

}  // namespace

std::string kind_name(const Node* node) { return node->kind().toQualString(); }

bool is_any_of(const Node* node, std::initializer_list<const char*> names) {
  const std::string_view name = node->kind().toQualString();  // not copied: the survey's most frequent question
  return std::any_of(names.begin(), names.end(), [&](const char* other) { return name == other; });
}

bool is_tensor(const Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

bool is_softmax(const Node* node) {
  return is_any_of(node, {"aten::softmax", "aten::_softmax", "aten::_safe_softmax"});
}

bool takes_dtype_alone(const Node* node, std::size_t operand) {
  if (is_any_of(node, {"aten::new_ones", "aten::new_zeros", "aten::new_full", "prim::device", "prim::dtype"})) {
    return operand == 0;
  }
  return is_any_of(node, {"aten::type_as", "aten::to"}) && operand == 1 &&
         node->input(1)->type()->isSubtypeOf(*c10::TensorType::get());
}

std::string class_name(const c10::TypePtr& type) {
  const auto cls = type->cast<c10::ClassType>();
  if (!cls || !cls->name()) return "";
  static const std::regex mangled(R"(\.___torch_mangle_\d+)");
  std::string name = std::regex_replace(cls->name()->qualifiedName(), mangled, "");
  const std::string prefix = "__torch__.";
  return name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
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
  if (auto literal = torch::jit::toIValue(value)) {
    // The module is on the CPU here, wherever its code says that tensors are made.
    return literal->isDevice() ? c10::IValue(c10::Device(c10::kCPU)) : *literal;
  }
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
      at::NoGradGuard no_grad;
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
    at::NoGradGuard no_grad;
    node->getOperation()(stack);
  } catch (const std::exception&) {
    return std::nullopt;  // a branch that never runs may hold an expression that cannot
  }
  if (stack.size() != 1 || !small_enough(stack.back(), limits.elements)) return std::nullopt;
  return stack.back();
}

std::optional<HandedMask> GraphFacts::handed_mask(Value* mask) const {
  const auto found = handed_masks_.find(uncut_mask(mask, *this));
  return found == handed_masks_.end() ? std::nullopt : std::optional(found->second);
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
