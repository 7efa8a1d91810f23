// The path of one weight. Calls are inlined as far as they concern it, branches are resolved, and then the nodes that
// the weight needs are collected backwards: what it is computed from, and every write to what those nodes read.
#include "fold/weight_path.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_map>

#include "graph/calls.h"
#include "graph/input_dependence.h"
#include "graph/memory.h"
#include "graph/specialise.h"
#include "graph/state_writers.h"
#include "graph/traversal.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// A node that marks the weight while the graph around it changes.
const c10::Symbol kMarker = c10::Symbol::fromQualString("flashconvert::weight");

// Whether a function sets attributes or writes into a tensor that was not made by it, itself or through its calls.
class StateChanges {
public:
  bool in(torch::jit::GraphFunction* function) {
    const auto [known, is_new] = known_.emplace(function, false);
    if (!is_new) return known->second;
    bool found = false;
    for_each_node(function->graph()->block(), [&](Node* node) { found = found || changes_state(node); });
    return known_[function] = found;
  }

private:
  bool changes_state(Node* node) {
    if (node->kind() == c10::prim::SetAttr && is_module_attribute(node)) return true;
    if (is_call(node)) return called_function(node) != nullptr && in(called_function(node));
    for (Value* written : written_inputs(node)) {
      for (const Base& base : bases(written, type_cell)) {
        if (base.kind != Base::Kind::kLocal) return true;
      }
    }
    return false;
  }

  std::unordered_map<torch::jit::GraphFunction*, bool> known_;
};

// Inlines, all the way down, the calls that can concern the value which `marker` takes: those that no input of the
// method reaches, those that change attributes, and those that the value comes out of. The others stay calls: inlining
// a whole model for the sake of one weight takes too long.
void inline_what_concerns(Graph& graph, Node* marker) {
  StateChanges state_changes;
  constexpr int kOneLevel = 1;
  bool changed = true;
  while (changed) {
    InputDependence dependence;
    changed = inline_calls(
        graph,
        [&](Node* call) {
          if (marker->input(0)->node() == call || state_changes.in(called_function(call))) return true;
          const auto outputs = call->outputs();
          return std::none_of(outputs.begin(), outputs.end(),
                              [&](Value* output) { return dependence.depends(output); });
        },
        kOneLevel);
  }
}

// Collects the nodes that the marked value needs.
class Slice {
public:
  Slice(Node* marker, const Module& self) : marker_(marker), self_(self) {
    for (Block* block = marker->owningBlock(); block != nullptr;
         block = block->owningNode() != nullptr ? block->owningNode()->owningBlock() : nullptr) {
      scopes_.insert(block);
    }
  }

  WeightPath run() {
    path_.self = self_;
    need(marker_->input(0));
    while (!path_.refusal && include_writers()) {
    }
    for (const Node* node : nodes_) path_.transforms |= !hands_values_on(node);
    if (!path_.refusal) path_.graph = extract();
    return std::move(path_);
  }

private:
  void refuse(const std::string& reason) {
    if (!path_.refusal) path_.refusal = reason;
  }

  // The node, or the branch or loop around it, that stands beside the weight.
  Node* unit_of(Node* node) const {
    while (scopes_.count(node->owningBlock()) == 0) node = node->owningBlock()->owningNode();
    return node;
  }

  void need(Value* value) {
    Node* node = value->node();
    if (node->kind() != c10::prim::Param) return include(unit_of(node));
    Node* owner = node->owningBlock()->owningNode();
    if (owner == nullptr) {
      if (value->offset() != 0) refuse("depends on the input `" + value->debugNameBase() + "`");
    } else if (nodes_.count(owner) == 0) {
      refuse("changes from one turn of a loop to the next");
    }
  }

  void include(Node* unit) {
    if (!nodes_.insert(unit).second) return;
    if (contains(unit, marker_->owningBlock())) {
      return refuse("is computed inside a branch or loop that it also depends on");
    }
    take_in(unit);
    for (Block* block : unit->blocks()) {
      for_each_node(block, [&](Node* inner) { take_in(inner); });
      need_outputs(block);
    }
  }

  void need_outputs(Block* block) {
    for (Value* output : block->outputs()) need(output);
  }

  void take_in(Node* node) {
    if (node->isNondeterministic()) {
      refuse(std::string("draws random numbers (") + node->kind().toQualString() + ")");
    }
    if (node->kind() == c10::prim::CallMethod || node->kind() == c10::prim::CallFunction) {
      refuse("calls code that cannot be looked into");
    }
    if (node->kind() == c10::prim::GetAttr) note(node, path_.reads);
    note_writes(node, path_.writes, nullptr);
    if (const auto id = StateWriters::id_of(node)) path_.writers.insert(*id);
    for (Block* block : node->blocks()) need_outputs(block);
    for (Value* input : node->inputs()) need(input);
  }

  void note(const Node* node, std::set<Cell>& cells) {
    if (const auto cell = object_cell(node, self_)) {
      cells.insert(*cell);
      path_.objects.insert(cell->owner);
    }
  }

  // Adds the cells (and, where asked, the tensors of this graph) that a node writes.
  void note_writes(Node* node, std::set<Cell>& cells, std::set<const Node*>* locals) {
    if (node->kind() == c10::prim::SetAttr) note(node, cells);
    for (Value* written : written_inputs(node)) {
      const auto targets = bases(written, [&](const Node* get) { return object_cell(get, self_); });
      for (const Base& target : targets) {
        if (target.kind == Base::Kind::kCell) cells.insert(target.cell);
        if (target.kind == Base::Kind::kLocal && locals != nullptr) locals->insert(target.node);
      }
    }
  }

  // Includes every node that writes something which the collected nodes read. Says whether there was a new one.
  bool include_writers() {
    std::vector<Node*> writers;
    for_each_node(marker_->owningGraph()->block(), [&](Node* node) {
      std::set<Cell> cells;
      std::set<const Node*> locals;
      if (nodes_.count(unit_of(node)) != 0) return;
      note_writes_without_objects(node, cells, locals);
      const bool concerns =
          std::any_of(cells.begin(), cells.end(), [&](const Cell& cell) { return path_.reads.count(cell) != 0; }) ||
          std::any_of(locals.begin(), locals.end(), [&](const Node* made) { return has(made); });
      if (concerns) writers.push_back(unit_of(node));
    });
    for (Node* writer : writers) include(writer);
    return !writers.empty();
  }

  void note_writes_without_objects(Node* node, std::set<Cell>& cells, std::set<const Node*>& locals) {
    const std::set<const void*> objects = path_.objects;
    note_writes(node, cells, &locals);
    path_.objects = objects;
  }

  bool has(const Node* made) const { return nodes_.count(unit_of(const_cast<Node*>(made))) != 0; }

  std::shared_ptr<Graph> extract() {
    std::vector<Node*> ordered(nodes_.begin(), nodes_.end());
    std::sort(ordered.begin(), ordered.end(), [](const Node* a, const Node* b) { return a != b && a->isBefore(b); });
    auto graph = std::make_shared<Graph>();
    std::unordered_map<Value*, Value*> twins;
    Value* self = marker_->owningGraph()->inputs()[0];
    twins[self] = graph->addInput("self")->setType(self->type());
    for (Node* node : ordered) {
      Node* twin = graph->insertNode(graph->createClone(node, [&](Value* value) { return twins.at(value); }));
      for (size_t i = 0; i < node->outputs().size(); ++i) twins[node->output(i)] = twin->output(i);
    }
    graph->registerOutput(twins.at(marker_->input(0)));
    return graph;
  }

  Node* marker_;
  Module self_;
  std::set<Block*> scopes_;
  std::set<Node*> nodes_;
  WeightPath path_;
};

}  // namespace

WeightPath follow_weight(const Module& self, Graph& graph, const Operand& operand,
                         const MutableAttributes& mutable_attributes) {
  const auto copy = graph.copy();
  Node* node = counterpart(graph.block(), copy->block(), operand.node);
  Node* marker = copy->create(kMarker, {node->input(operand.index)}, 0)->insertBefore(node);
  inline_what_concerns(*copy, marker);
  specialise_for(Mode::kEval, *copy, GraphFacts(self, &mutable_attributes));
  const bool is_computed = any_node(copy->block(), [](const Node* inner) { return inner->kind() == kMarker; });
  if (!is_computed) {  // in a branch that eval mode never takes
    WeightPath none;
    none.self = self;
    return none;
  }
  return Slice(marker, self).run();
}

}  // namespace flashconvert::fold
