// Carrying out a plan: layers get their weights as plain parameters, and what only computed them goes.
#include "fold/replace.h"

#include <torch/csrc/jit/api/function_impl.h>

#include <algorithm>
#include <map>

#include "fold/classify.h"
#include "fold/state_keys.h"
#include "fold/sweep.h"
#include "graph/method_graph.h"
#include "graph/module_tree.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

void store(const c10::intrusive_ptr<c10::ivalue::Object>& object, const std::string& name, c10::IValue value) {
  object->setSlot(object->type()->getAttributeSlot(name), std::move(value));
}

// Makes room for a tensor attribute in the type and in every instance of the tree.
void declare(const Module& root, const c10::ClassTypePtr& type, const std::string& name, c10::TypePtr kind,
             bool is_parameter) {
  if (const auto slot = type->findAttributeSlot(name)) {
    if (type->is_parameter(*slot) == is_parameter && !type->is_buffer(*slot)) return;
    remove_attribute(root, type, name);
  }
  type->addAttribute(name, std::move(kind), is_parameter);
}

// Reads an attribute for an operator: before its lists of sizes, which are then still printed in their places.
Value* get_attribute(Node* user, const std::string& name) {
  Graph* graph = user->owningGraph();
  Node* before = user;
  while (before->prev()->kind() == c10::prim::ListConstruct) before = before->prev();
  const torch::jit::WithInsertPoint here(before);
  Value* value = graph->insertGetAttr(graph->inputs()[0], name);
  value->setDebugName(name);
  return value;
}

void replace_operands(const std::vector<Operand>& operands, const std::string& name) {
  for (const Operand& operand : operands) operand.node->replaceInput(operand.index, get_attribute(operand.node, name));
}

// A hook's product came in as an argument: callers no longer pass it.
void drop_argument(const Folding& folding, const PassedWeight& passed) {
  auto& function = torch::jit::toGraphFunction(folding.type->getMethod(passed.method));
  const size_t index = passed.argument->offset();
  for (const Operand& call : folding.taken) {
    if (called_function(call.node) == &function) call.node->removeInput(call.index);
  }
  std::vector<c10::Argument> arguments = function.getSchema().arguments();
  arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(index));
  function.setSchema(function.getSchema().cloneWithArguments(std::move(arguments)));
  function.graph()->eraseInput(index);
}

void store_bias(const Module& root, Folding& folding) {
  const auto chain = attribute_chain(folding.bias[0].value());
  const PlannedWeight& first = folding.weights[0];
  const auto place = resolve_chain(chain, first.layer);
  TORCH_CHECK(place, "the bias of '", first.entry.path, "' went missing");
  const auto& holder = place->owner->type();
  const c10::TypePtr kind = holder->getAttribute(place->name);
  declare(root, folding.type, "bias", kind, holder->is_parameter(holder->getAttributeSlot(place->name)));
  for (PlannedWeight& weight : folding.weights) {
    const auto bias = resolve_chain(chain, weight.layer);
    store(weight.layer._ivalue(), "bias", bias->owner->getAttr(bias->name));
  }
  replace_operands(folding.bias, "bias");
}

void store_weight(const Module& root, Folding& folding) {
  declare(root, folding.type, folding.attribute, c10::TensorType::get(), true);
  for (PlannedWeight& weight : folding.weights) {
    const auto raw = raw_weight(weight.path, weight.value);
    store(weight.layer._ivalue(), folding.attribute, weight.value.requires_grad_(raw && raw->tensor.requires_grad()));
  }
  replace_operands(folding.operands, folding.attribute);
  for (const PassedWeight& passed : folding.passed) drop_argument(folding, passed);
}

// What became of the keys: each folded layer's own, and those of its path that went or were overwritten.
std::vector<report::Rename> renames(const Plan& plan, const StateKeys& before, const StateKeys& after) {
  std::vector<report::Rename> found;
  for (const Folding& folding : plan.foldings) {
    for (const PlannedWeight& weight : folding.weights) {
      const std::string to = join_path(weight.entry.path, folding.attribute);
      report::Rename rename{{}, to};
      for (const std::string& key : before.of(weight.path.reads)) {
        if (key == to || !after.has(key)) rename.from.push_back(key);
      }
      if (rename.from.empty()) rename.from = before.of(weight.path.reads);
      found.push_back(std::move(rename));
      if (folding.bias.empty()) continue;
      const std::string bias = join_path(weight.entry.path, "bias");
      if (after.has(bias)) found.push_back({{before.bias_of(weight.entry.path)}, bias});
    }
  }
  return found;
}

}  // namespace

std::vector<report::Rename> carry_out(Module& root, Plan& plan) {
  StateKeys before(root);
  std::vector<std::string> owners;
  for (Folding& folding : plan.foldings) {
    for (const PlannedWeight& weight : folding.weights) {
      owners.push_back(weight.entry.path);
      if (folding.bias.empty()) continue;
      const auto place = resolve_chain(attribute_chain(folding.bias[0].value()), weight.layer);
      before.remember_bias(weight.entry.path, {place->owner.get(), place->name});
    }
  }
  const ModuleIndex index(root);
  const Liveness with_paths(index, {}, plan.cells);
  const Liveness without_paths(index, plan.cut, plan.cells);

  std::set<Cell> stored;
  for (Folding& folding : plan.foldings) {
    // The bias first: its place is looked up through attributes that a new weight may replace.
    if (!folding.bias.empty()) {
      store_bias(root, folding);
      stored.insert({folding.type.get(), "bias"});
    }
    store_weight(root, folding);
    stored.insert({folding.type.get(), folding.attribute});
  }
  sweep_code(root, with_paths, without_paths);
  sweep_attributes(root, plan.cells, stored, owners);
  drop_compiled_code(root);
  return renames(plan, before, StateKeys(root));
}

}  // namespace flashconvert::fold
