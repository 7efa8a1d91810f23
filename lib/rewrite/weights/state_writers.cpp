// The code of a model that writes attributes.
#include "rewrite/weights/state_writers.h"

#include <unordered_map>
#include <unordered_set>

#include "common/function_with_graph.h"
#include "rewrite/module_tree.h"

namespace flashconvert::rewrite::weights {
namespace {

using torch::jit::GraphFunction;
using torch::jit::Node;
using torch::jit::Value;

const c10::Symbol kId = c10::Symbol::attr("flashconvert_writer");

// Whether a function writes into the tensors that it is given.
bool writes_inputs(GraphFunction* function, std::unordered_map<GraphFunction*, bool>& known) {
  const auto [entry, is_new] = known.emplace(function, false);
  if (!is_new) return entry->second;
  bool writes = false;
  for_each_node(function->graph()->block(), [&](Node* node) {
    std::vector<Value*> written = written_inputs(node);
    GraphFunction* callee = called_function(node);
    if (callee != nullptr && writes_inputs(callee, known)) written.assign(node->inputs().begin(), node->inputs().end());
    for (Value* value : written) {
      for (const Base& base : bases(value, type_cell)) writes |= base.kind == Base::Kind::kInput;
    }
  });
  return known[function] = writes;
}

std::set<Cell> cells_of(const std::vector<Value*>& values) {
  std::set<Cell> cells;
  for (Value* value : values) {
    for (const Base& base : bases(value, type_cell)) {
      if (base.kind == Base::Kind::kCell) cells.insert(base.cell);
    }
  }
  return cells;
}

// The methods that run when the model runs in eval mode, or that somebody outside may call at any time.
std::unordered_set<GraphFunction*> functions_in_eval(const torch::jit::Module& root) {
  std::unordered_set<GraphFunction*> called;
  std::vector<GraphFunction*> all;
  for (const auto& type : module_types(root)) {
    for (torch::jit::Function* method : type->methods()) {
      GraphFunction* function = function_with_graph(method);
      if (function == nullptr) continue;
      all.push_back(function);
      for_each_node(function->graph()->block(), [&](Node* node) { called.insert(called_function(node)); });
    }
  }
  std::vector<GraphFunction*> pending;
  for (GraphFunction* function : all) {
    const bool is_of_root = root.type()->findMethod(function->name()) == function;
    if (is_of_root || called.count(function) == 0) pending.push_back(function);
  }
  std::unordered_set<GraphFunction*> running;
  while (!pending.empty()) {
    GraphFunction* function = pending.back();
    pending.pop_back();
    if (!running.insert(function).second) continue;
    for_each_node(function->graph()->block(), [&](Node* node) {
      GraphFunction* callee = called_function(node);
      if (callee != nullptr && runs_in_eval(node)) pending.push_back(callee);
    });
  }
  return running;
}

}  // namespace

StateWriters::StateWriters(const torch::jit::Module& root) {
  std::unordered_map<GraphFunction*, bool> known;
  const auto running = functions_in_eval(root);
  for (const auto& type : module_types(root)) {
    for (torch::jit::Function* method : type->methods()) {
      GraphFunction* function = function_with_graph(method);
      if (function == nullptr) continue;
      for_each_node(function->graph()->block(), [&](Node* node) {
        StateWriter writer;
        GraphFunction* callee = called_function(node);
        if (callee != nullptr && writes_inputs(callee, known)) {
          writer.cells = cells_of({node->inputs().begin(), node->inputs().end()});
        } else if (node->kind() == c10::prim::SetAttr) {
          if (const auto cell = type_cell(node)) writer.cells.insert(*cell);
        } else {
          writer.cells = cells_of(written_inputs(node));
        }
        if (writer.cells.empty()) return;
        writer.id = static_cast<std::int64_t>(writers_.size());
        writer.in_eval = running.count(function) != 0 && runs_in_eval(node);
        writer.method = method->name();
        node->i_(kId, writer.id);
        nodes_.push_back(node);
        writers_.push_back(std::move(writer));
      });
    }
  }
}

StateWriters::~StateWriters() {
  for (Node* node : nodes_) node->removeAttribute(kId);
}

std::set<Cell> StateWriters::cells() const {
  std::set<Cell> cells;
  for (const StateWriter& writer : writers_) cells.insert(writer.cells.begin(), writer.cells.end());
  return cells;
}

std::optional<std::int64_t> StateWriters::id_of(const Node* node) {
  if (!node->hasAttribute(kId)) return std::nullopt;
  return node->i(kId);
}

}  // namespace flashconvert::rewrite::weights
