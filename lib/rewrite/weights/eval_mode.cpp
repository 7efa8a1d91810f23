// What a method does in eval mode, as a graph.
#include "rewrite/weights/eval_mode.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

#include <optional>
#include <unordered_map>
#include <vector>

#include "rewrite/weights/graph_tools.h"

namespace flashconvert::rewrite::weights {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::GraphFunction;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// Whether a function sets attributes or writes into a tensor that was not made by it, itself or through its calls.
class StateChanges {
public:
  bool in(GraphFunction* function) {
    if (function == nullptr) return false;
    const auto [known, is_new] = known_.emplace(function, false);
    if (!is_new) return known->second;
    bool found = false;
    for_each_node(function->graph()->block(), [&](Node* node) { found = found || changes_state(node); });
    return known_[function] = found;
  }

private:
  bool changes_state(Node* node) {
    if (node->kind() == c10::prim::SetAttr && is_module_attribute(node)) return true;
    if (is_call(node)) return in(called_function(node));
    for (Value* written : written_inputs(node)) {
      for (const Base& base : bases(written, type_cell)) {
        if (base.kind != Base::Kind::kLocal) return true;
      }
    }
    return false;
  }

  std::unordered_map<GraphFunction*, bool> known_;
};

Node* next_call(Block* block, const std::function<bool(Node*)>& wanted) {
  for (Node* node : block->nodes()) {
    if (is_call(node) && wanted(node)) return node;
    for (Block* inner : node->blocks()) {
      if (Node* found = next_call(inner, wanted)) return found;
    }
  }
  return nullptr;
}

std::optional<c10::IValue> known_value(Value* value, const Module& self);

// A condition's comparison or negation, computed from known operands.
std::optional<c10::IValue> known_result(Node* node, const Module& self) {
  const std::string kind = node->kind().toQualString();
  const auto operand = [&](size_t index) { return known_value(node->input(index), self); };
  if (kind == "aten::__not__") {
    const auto value = operand(0);
    if (value && value->isBool()) return !value->toBool();
    return std::nullopt;
  }
  if (kind == "aten::__and__" || kind == "aten::__or__") {
    const auto a = operand(0), b = operand(1);
    if (!a || !b || !a->isBool() || !b->isBool()) return std::nullopt;
    return kind == "aten::__and__" ? a->toBool() && b->toBool() : a->toBool() || b->toBool();
  }
  if (kind == "aten::__is__" || kind == "aten::__isnot__") {
    const auto a = operand(0), b = operand(1);
    if (!a || !b || (!a->isNone() && !b->isNone())) return std::nullopt;
    return (a->isNone() && b->isNone()) == (kind == "aten::__is__");
  }
  const bool is_comparison = kind == "aten::eq" || kind == "aten::ne" || kind == "aten::lt" || kind == "aten::le" ||
                             kind == "aten::gt" || kind == "aten::ge";
  if (!is_comparison) return std::nullopt;
  const auto a = operand(0), b = operand(1);
  if (!a || !b) return std::nullopt;
  if (a->isString() && b->isString() && (kind == "aten::eq" || kind == "aten::ne")) {
    return (a->toStringRef() == b->toStringRef()) == (kind == "aten::eq");
  }
  if (!a->isScalar() || !b->isScalar()) return std::nullopt;
  const double x = a->toScalar().toDouble(), y = b->toScalar().toDouble();
  if (kind == "aten::eq") return x == y;
  if (kind == "aten::ne") return x != y;
  if (kind == "aten::lt") return x < y;
  if (kind == "aten::le") return x <= y;
  return kind == "aten::gt" ? x > y : x >= y;
}

std::optional<c10::IValue> known_value(Value* value, const Module& self) {
  Node* node = value->node();
  if (node->kind() == c10::prim::Constant) return torch::jit::toIValue(value);
  if (node->kind() != c10::prim::GetAttr) return known_result(node, self);
  const auto chain = attribute_chain(value);
  const auto place = chain ? resolve_chain(*chain, self) : std::nullopt;
  if (!place || place->first->type()->findAttributeSlot(place->second) == std::nullopt) return std::nullopt;
  return place->first->getAttr(place->second);
}

bool changes_attribute(Graph& graph, const std::string& name) {
  bool changes = false;
  for_each_node(graph.block(),
                [&](Node* node) { changes |= node->kind() == c10::prim::SetAttr && node->s(c10::attr::name) == name; });
  return changes;
}

// An attribute that this graph sets may have another value at the branch than it has in the file.
bool rests_on_changed_attribute(Graph& graph, Value* condition) {
  Node* node = condition->node();
  if (node->kind() == c10::prim::GetAttr) return changes_attribute(graph, node->s(c10::attr::name));
  for (Value* input : node->inputs()) {
    if (rests_on_changed_attribute(graph, input)) return true;
  }
  return false;
}

void replace_training_by_false(Graph& graph) {
  std::vector<Node*> reads;
  for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == c10::prim::GetAttr && node->s(c10::attr::name) == "training") reads.push_back(node);
  });
  if (reads.empty()) return;
  torch::jit::WithInsertPoint at_start(graph.block()->param_node()->next());
  Value* no = graph.insertConstant(false);
  for (Node* read : reads) read->output()->replaceAllUsesWith(no);
}

void splice(Node* branch, Block* taken) {
  for (size_t i = 0; i < branch->outputs().size(); ++i) {
    branch->output(i)->replaceAllUsesWith(taken->outputs()[i]);
  }
  const std::vector<Node*> nodes(taken->nodes().begin(), taken->nodes().end());
  for (Node* node : nodes) node->moveBefore(branch);
  branch->destroy();
}

bool resolve_one(Graph& graph, Block* block, const Module& self) {
  for (Node* node : block->nodes()) {
    if (node->kind() == c10::prim::If && !rests_on_changed_attribute(graph, node->input(0))) {
      const auto condition = known_value(node->input(0), self);
      if (condition && condition->isBool()) {
        splice(node, node->blocks()[condition->toBool() ? 0 : 1]);
        return true;
      }
    }
    for (Block* inner : node->blocks()) {
      if (resolve_one(graph, inner, self)) return true;
    }
  }
  return false;
}

}  // namespace

void inline_calls(Graph& graph, Node* marker) {
  StateChanges state_changes;
  for (;;) {
    InputDependence dependence;
    Node* call = next_call(graph.block(), [&](Node* node) {
      GraphFunction* function = called_function(node);
      if (function == nullptr) return false;
      if (marker->input(0)->node() == node || state_changes.in(function)) return true;
      const auto outputs = node->outputs();
      return std::none_of(outputs.begin(), outputs.end(), [&](Value* output) { return dependence.depends(output); });
    });
    if (call == nullptr) return;
    GraphFunction* function = called_function(call);
    if (call->kind() == c10::prim::CallFunction) call->removeInput(0);
    torch::jit::inlineCallTo(call, function, function->graph().get());
  }
}

void resolve_branches(Graph& graph, const Module& self) {
  replace_training_by_false(graph);
  while (resolve_one(graph, graph.block(), self)) {
  }
}

}  // namespace flashconvert::rewrite::weights
