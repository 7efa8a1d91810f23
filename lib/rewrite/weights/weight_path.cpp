// The path of one weight. Calls are inlined as far as they concern it, branches are resolved, and then the nodes that
// the weight needs are collected backwards: what it is computed from, and every write to what those nodes read.
#include "rewrite/weights/weight_path.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_map>

#include "rewrite/weights/eval_mode.h"
#include "rewrite/weights/state_writers.h"

namespace flashconvert::rewrite::weights {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// A node that marks the weight while the graph around it changes.
const c10::Symbol kMarker = c10::Symbol::fromQualString("flashconvert::weight");

// The node of a copied block which stands where `wanted` stands in the original.
Node* counterpart(Block* original, Block* copy, const Node* wanted) {
  auto twin = copy->nodes().begin();
  for (Node* node : original->nodes()) {
    if (node == wanted) return *twin;
    for (size_t i = 0; i < node->blocks().size(); ++i) {
      if (Node* found = counterpart(node->blocks()[i], twin->blocks()[i], wanted)) return found;
    }
    ++twin;
  }
  return nullptr;
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
    for (const Node* node : nodes_) path_.transforms |= !is_neutral(node);
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

std::optional<Cell> object_cell(const Node* node, const Module& self) {
  const bool is_self = node->input(0) == node->owningGraph()->inputs()[0];
  const auto chain = attribute_chain(node->input(0));
  c10::intrusive_ptr<c10::ivalue::Object> owner;
  if (is_self) {
    owner = self._ivalue();
  } else if (chain) {
    const auto resolved = resolve_chain(*chain, self);
    if (!resolved || !resolved->first->getAttr(resolved->second).isObject()) return std::nullopt;
    owner = resolved->first->getAttr(resolved->second).toObject();
  } else {
    return std::nullopt;
  }
  return Cell{owner.get(), node->s(c10::attr::name)};
}

WeightPath follow_weight(const Module& self, Graph& graph, const Operand& operand) {
  const auto copy = graph.copy();
  Node* node = counterpart(graph.block(), copy->block(), operand.node);
  Node* marker = copy->create(kMarker, {node->input(operand.index)}, 0)->insertBefore(node);
  inline_calls(*copy, marker);
  resolve_branches(*copy, self);
  return Slice(marker, self).run();
}

}  // namespace flashconvert::rewrite::weights
