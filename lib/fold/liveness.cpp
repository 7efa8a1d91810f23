// What of a model still matters when some values are no longer needed.
#include "fold/liveness.h"

#include <utility>

#include "graph/calls.h"
#include "graph/memory.h"
#include "graph/traversal.h"

namespace flashconvert::fold {

using torch::jit::Block;
using torch::jit::Function;
using torch::jit::GraphFunction;
using torch::jit::Node;
using torch::jit::Value;

Liveness::Liveness(const ModuleIndex& index, const std::set<Operand>& cut, const std::set<Cell>& private_cells)
    : cut_(cut), private_cells_(private_cells) {
  find_roots(index);
  drain();
}

void Liveness::find_roots(const ModuleIndex& index) {
  std::unordered_set<const Function*> called;
  std::set<std::string> called_by_name;  // through an interface: any class may be behind it
  for (const auto& [type, function] : index.methods()) {
    for_each_node(function->graph()->block(), [&](Node* node) {
      if (!is_call(node)) return;
      if (const GraphFunction* callee = called_function(node)) {
        called.insert(callee);
      } else if (node->kind() == c10::prim::CallMethod) {
        called_by_name.insert(node->s(c10::attr::name));
      }
    });
  }
  for (const auto& [type, function] : index.methods()) {
    const bool is_root =
        type == index.root().type() || called.count(function) == 0 || called_by_name.count(function->name()) != 0;
    if (is_root) mark_function(function);
  }
  for (const auto& [type, hook] : index.hooks()) mark_function(hook);
}

void Liveness::drain() {
  while (!work_.empty()) {
    const auto next = std::move(work_.back());
    work_.pop_back();
    next();
  }
}

void Liveness::mark_function(Function* function) {
  if (!functions_.insert(function).second) return;
  GraphFunction* graph_function = function_with_graph(function);
  if (graph_function == nullptr) return;
  for_each_node(graph_function->graph()->block(), [&](Node* node) { await(node); });
  for (Value* output : graph_function->graph()->outputs()) mark_value(output);
}

// Marks a node that has an effect, or keeps it until what it writes is read.
void Liveness::await(Node* node) {
  const Effects effects = effects_of(node);
  if (effects.observable || effects.writes_inputs) mark_node(node);
  for (const Cell& cell : effects.cells) {
    writers_[cell].push_back(node);
    if (reads(cell)) mark_node(node);
  }
  std::vector<Value*> written = written_inputs(node);
  if (effects.writes_arguments) written.assign(node->inputs().begin(), node->inputs().end());
  for (Value* value : written) {
    for (const Base& base : bases(value, type_cell)) {
      if (base.kind != Base::Kind::kLocal) continue;
      mutators_[base.node].push_back(node);
      if (is_live(base.node)) mark_node(node);
    }
  }
}

Liveness::Effects Liveness::effects_of(Node* node) {
  Effects effects;
  const auto write_to = [&](Value* value) {
    for (const Base& base : bases(value, type_cell)) {
      if (base.kind == Base::Kind::kInput) effects.writes_inputs = true;
      if (base.kind == Base::Kind::kUnknown) effects.observable = true;
      if (base.kind != Base::Kind::kCell) continue;
      if (private_cells_.count(base.cell) != 0) {
        effects.cells.insert(base.cell);
      } else {
        effects.observable = true;
      }
    }
  };
  if (node->kind() == c10::prim::SetAttr && is_module_attribute(node)) {
    const auto cell = type_cell(node);
    if (cell && private_cells_.count(*cell) != 0) {
      effects.cells.insert(*cell);
    } else {
      effects.observable = true;
    }
  } else if (node->kind() == c10::prim::RaiseException) {
    effects.observable = raises_on_input(node);
  } else if (is_call(node)) {
    GraphFunction* function = called_function(node);
    if (function == nullptr) {
      effects.observable = true;
      return effects;
    }
    effects = effects_of(function);
    effects.writes_arguments = std::exchange(effects.writes_inputs, false);
    if (effects.writes_arguments) {
      for (Value* input : node->inputs().slice(1)) write_to(input);
    }
  } else if (const auto written = written_inputs(node); !written.empty()) {
    for (Value* value : written) write_to(value);
  } else if (node->kind() != c10::prim::Enter && node->kind() != c10::prim::Exit) {
    // A scope (torch.no_grad()) matters for what is inside; sweeping removes it when that is nothing.
    effects.observable = node->hasSideEffects();
  }
  return effects;
}

const Liveness::Effects& Liveness::effects_of(GraphFunction* function) {
  const auto [known, is_new] = effects_.emplace(function, Effects{});
  if (!is_new) return known->second;
  Effects all;
  for_each_node(function->graph()->block(), [&](Node* node) {
    const Effects effects = effects_of(node);
    all.observable |= effects.observable;
    all.writes_inputs |= effects.writes_inputs;
    all.cells.insert(effects.cells.begin(), effects.cells.end());
  });
  return effects_[function] = all;
}

// A check of the parameters alone has passed when the weight was evaluated; one that looks at an input has to stay.
bool Liveness::raises_on_input(Node* raise) {
  InputDependence& dependence = dependence_[raise->owningGraph()];
  bool conditional = false;
  for (Block* block = raise->owningBlock(); block->owningNode() != nullptr;
       block = block->owningNode()->owningBlock()) {
    for (Value* input : block->owningNode()->inputs()) {
      if (dependence.depends(input)) return true;
    }
    conditional = true;
  }
  return !conditional;
}

void Liveness::mark_node(Node* node) {
  if (!nodes_.insert(node).second) return;
  work_.emplace_back([this, node] {
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      if (cut_.count({node, i}) == 0) mark_value(node->input(i));
    }
    if (node->kind() == c10::prim::GetAttr) {
      if (const auto cell = type_cell(node)) mark_cell(*cell);
    }
    if (node->kind() == c10::prim::Loop) {
      for (Value* output : node->blocks()[0]->outputs()) mark_value(output);
    }
    if (is_call(node)) {
      if (GraphFunction* function = called_function(node)) mark_function(function);
    }
    if (Node* owner = node->owningBlock()->owningNode()) mark_node(owner);
    const auto mutators = mutators_.find(node);
    if (mutators != mutators_.end()) {
      for (Node* mutator : mutators->second) mark_node(mutator);
    }
  });
}

void Liveness::mark_value(Value* value) {
  Node* node = value->node();
  if (node->kind() == c10::prim::Param) {
    if (Node* owner = node->owningBlock()->owningNode()) mark_node(owner);
    return;
  }
  mark_node(node);
  if (node->kind() == c10::prim::If && branch_results_.insert(value).second) {
    for (Block* block : node->blocks()) mark_value(block->outputs()[value->offset()]);
  }
}

void Liveness::mark_cell(const Cell& cell) {
  if (!read_.insert(cell).second) return;
  const auto waiting = writers_.find(cell);
  if (waiting == writers_.end()) return;
  for (Node* writer : std::vector<Node*>(waiting->second)) mark_node(writer);
}

}  // namespace flashconvert::fold
