// Constants of a graph's values (graph_facts.h); ranks are in graph_ranks.cpp, sizes in graph_sizes.cpp.
#include "graph/graph_facts.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <regex>
#include <unordered_set>

#include "graph/calls.h"
#include "graph/memory.h"
#include "graph/traversal.h"

namespace flashconvert {

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

// What is made once and changed in place later (a list that is appended to, a tensor that is filled) has no one value.
// Attributes are the index's matter.
bool may_change(const Value* value) {
  const bool is_mutable = is_tensor(value) || value->type()->kind() == c10::TypeKind::ListType ||
                          value->type()->kind() == c10::TypeKind::DictType;
  return is_mutable && value->node()->kind() != prim::Constant && value->node()->kind() != prim::GetAttr &&
         is_written(value);
}

bool is_evaluated(const Node* node) {
  return node->maybeOperator() && !node->isNondeterministic() && !node->hasSideEffects() && node->blocks().empty() &&
         !is_call(node) && node->outputs().size() == 1 && !node->schema().is_mutable();
}

}  // namespace

bool is_tensor(const Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

std::string class_name(const c10::TypePtr& type) {
  const auto cls = type->cast<c10::ClassType>();
  if (!cls || !cls->name()) return "";
  static const std::regex mangled(R"(\.___torch_mangle_\d+)");
  std::string name = std::regex_replace(cls->name()->qualifiedName(), mangled, "");
  const std::string prefix = "__torch__.";
  return name.rfind(prefix, 0) == 0 ? name.substr(prefix.size()) : name;
}

std::optional<c10::IValue> GraphFacts::constant(Value* value) const { return evaluate(value, kDepth, Limits{}); }

std::optional<bool> GraphFacts::condition(Value* value) const {
  Limits limits;
  limits.tensors = false;
  const auto found = evaluate(value, kDepth, limits);
  return found && found->isBool() ? std::optional(found->toBool()) : std::nullopt;
}

std::optional<at::Tensor> GraphFacts::run(Value* value) const {
  if (!is_independent_of_inputs(value)) return std::nullopt;
  const auto found = evaluate(value, kDepth, Limits{true, true, kLargestParameter});
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

bool GraphFacts::is_none(Value* value) const {
  const auto found = constant(value);
  return found && found->isNone();
}

std::optional<c10::IValue> GraphFacts::attribute(Value* value) const {
  const Node* node = value->node();
  if (node->kind() != prim::GetAttr) {
    if (value == self_of(*value->owningGraph())) return module_._ivalue();
    return std::nullopt;
  }
  const auto owner = attribute(node->input(0));
  if (!owner || !owner->isObject()) return std::nullopt;
  const auto object = owner->toObject();
  const std::string& name = node->s(attr::name);
  if (mutable_attributes_ && mutable_attributes_->count({object->type().get(), name}) != 0) return std::nullopt;
  if (const auto slot = object->type()->findAttributeSlot(name)) return object->getSlot(*slot);
  if (const auto slot = object->type()->findConstantSlot(name)) return object->type()->getConstant(*slot);
  return std::nullopt;
}

std::optional<c10::IValue> GraphFacts::evaluate(Value* value, int depth, Limits limits) const {
  if (depth == 0) {
    cut_short_ = true;
    return std::nullopt;
  }
  const bool is_remembered = !limits.parameters && limits.tensors;
  if (!is_remembered) return evaluate_new(value, depth, limits);
  if (const auto found = constants_.find(key_of(value)); found != constants_.end()) return found->second;
  const bool was_cut_short = std::exchange(cut_short_, false);
  auto result = evaluate_new(value, depth, limits);
  if (!cut_short_) constants_[key_of(value)] = result;
  cut_short_ = cut_short_ || was_cut_short;
  if (depth == kDepth) cut_short_ = false;
  return result;
}

std::optional<c10::IValue> GraphFacts::evaluate_new(Value* value, int depth, Limits limits) const {
  if (may_change(value)) return std::nullopt;
  if (auto literal = torch::jit::toIValue(value)) {
    // The module is on the CPU here, wherever its code says that tensors are made.
    return literal->isDevice() ? c10::IValue(c10::Device(c10::kCPU)) : *literal;
  }
  Node* node = value->node();
  if (node->kind() == prim::GetAttr) return evaluate_attribute(value, limits);
  if (node->kind() == aten::size && node->inputs().size() == 2) return evaluate_size(node, depth, limits);
  if (node->kind() == prim::ListConstruct) return evaluate_list(value, depth, limits);
  if (node->kind() == prim::CallMethod && limits.parameters) return evaluate_call(node, depth, limits);
  return is_evaluated(node) ? evaluate_operator(node, depth, limits) : std::nullopt;
}

std::optional<c10::IValue> GraphFacts::evaluate_attribute(Value* value, Limits limits) const {
  auto found = attribute(value);
  if (!found || found->isObject() || !small_enough(*found, limits.elements)) return std::nullopt;
  if (!found->isTensor()) return found;
  if (!limits.tensors || !found->toTensor().defined()) return std::nullopt;
  if (limits.parameters) return found;
  const auto owner = value->node()->input(0)->type()->cast<c10::ClassType>();
  const auto slot = owner ? owner->findAttributeSlot(value->node()->s(attr::name)) : std::nullopt;
  return slot && (!owner->is_module() || !owner->is_parameter(*slot)) ? found : std::nullopt;
}

std::optional<c10::IValue> GraphFacts::evaluate_size(Node* node, int depth, Limits limits) const {
  if (!limits.tensors) return std::nullopt;
  const auto dim = evaluate(node->input(1), depth - 1, limits);
  if (!dim || !dim->isInt()) return std::nullopt;
  const auto from_end = dim_from_end(dim->toInt(), rank(node->input(0)));
  if (!from_end) return std::nullopt;
  const auto size = size_from_end(node->input(0), *from_end);
  return size ? std::optional(c10::IValue(*size)) : std::nullopt;
}

// Lists of ints, and of tensors (the indices of aten::index) where parameters count.
std::optional<c10::IValue> GraphFacts::evaluate_list(Value* value, int depth, Limits limits) const {
  c10::List<std::int64_t> ints;
  c10::List<std::optional<at::Tensor>> tensors;
  const bool of_ints = value->type()->isSubtypeOf(*c10::ListType::ofInts());
  if (!of_ints && !limits.parameters) return std::nullopt;
  for (Value* element : value->node()->inputs()) {
    const auto item = evaluate(element, depth - 1, limits);
    if (!item || (of_ints ? !item->isInt() : !item->isTensor() && !item->isNone())) return std::nullopt;
    if (of_ints) {
      ints.push_back(item->toInt());
    } else {
      tensors.push_back(item->toOptional<at::Tensor>());
    }
  }
  return of_ints ? c10::IValue(ints) : c10::IValue(tensors);
}

std::optional<c10::IValue> GraphFacts::evaluate_call(Node* call, int depth, Limits limits) const {
  const auto callee = attribute(call->input(0));
  if (!callee || !callee->isObject() || call->outputs().size() != 1) return std::nullopt;
  torch::jit::Stack arguments;
  for (std::size_t i = 1; i < call->inputs().size(); ++i) {
    auto item = evaluate(call->input(i), depth - 1, limits);
    if (!item) return std::nullopt;
    arguments.push_back(*item);
  }
  try {
    const at::NoGradGuard no_grad;
    return torch::jit::Module(callee->toObject()).get_method(call->s(attr::name))(arguments);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<c10::IValue> GraphFacts::evaluate_operator(Node* node, int depth, Limits limits) const {
  torch::jit::Stack stack;
  for (Value* input : node->inputs()) {
    auto item = evaluate(input, depth - 1, limits);
    if (!item) return std::nullopt;
    stack.push_back(*item);
  }
  try {
    const at::NoGradGuard no_grad;
    node->getOperation()(stack);
  } catch (const std::exception&) {
    return std::nullopt;  // a branch that never runs may hold an expression that cannot
  }
  if (stack.size() != 1 || !small_enough(stack.back(), limits.elements)) return std::nullopt;
  return stack.back();
}

const GraphFacts& GraphFacts::facts_of(const c10::intrusive_ptr<c10::ivalue::Object>& object) const {
  auto& facts = callees_[object.get()];
  if (!facts) facts = std::make_unique<GraphFacts>(torch::jit::Module(object), mutable_attributes_);
  return *facts;
}

std::vector<Value*> GraphFacts::list_elements(Value* list) {
  if (list->node()->kind() != prim::ListConstruct) return {};
  return list->node()->inputs().vec();
}

std::vector<std::optional<std::int64_t>> GraphFacts::int_list(Value* list) const {
  std::vector<std::optional<std::int64_t>> sizes;
  if (may_change(list)) return sizes;
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
  if (!has_trait(node, kElementwise | kCasts | kCopies | kDetaches) || has_trait(node, kWrites | kCompares))
    return false;
  return std::all_of(node->inputs().begin(), node->inputs().end(),
                     [&](Value* input) { return !is_tensor(input) || is_size_number(input); });
}

bool GraphFacts::is_independent_of_inputs(Value* value) const {
  std::vector<Value*> pending{value};
  std::unordered_set<Value*> seen;
  const Value* self = self_of(*value->owningGraph());
  while (!pending.empty()) {
    Value* current = pending.back();
    pending.pop_back();
    if (current == self || !seen.insert(current).second || independent_.count(key_of(current)) != 0) continue;
    if (current->node()->kind() == prim::Param || !current->node()->blocks().empty()) return false;
    for (Value* input : current->node()->inputs()) pending.push_back(input);
  }
  for (const Value* known : seen) independent_.insert(key_of(known));
  return true;
}

}  // namespace flashconvert
