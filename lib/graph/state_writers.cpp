// The code of a model that writes attributes.
#include "graph/state_writers.h"

#include <unordered_map>
#include <unordered_set>

#include "graph/calls.h"
#include "graph/memory.h"
#include "graph/module_index.h"
#include "graph/specialise.h"
#include "graph/traversal.h"

namespace flashconvert {
namespace {

using torch::jit::GraphFunction;
using torch::jit::Node;
using torch::jit::Value;

const c10::Symbol kId = c10::Symbol::attr("flashconvert_writer");

// Which of a function's inputs it writes into, itself or through its calls.
class WrittenInputs {
public:
  const std::set<std::size_t>& of(GraphFunction* function) {
    const auto [known, is_new] = known_.emplace(function, std::set<std::size_t>{});
    if (!is_new) return known->second;
    std::set<std::size_t> written;
    for_each_node(function->graph()->block(), [&](Node* node) {
      for (Value* value : by(node)) {
        for (const Base& base : bases(value, type_cell)) {
          if (base.kind == Base::Kind::kInput) written.insert(base.input);
        }
      }
    });
    return known_[function] = written;
  }

  // The values that a node writes into: an operator by its schema, a call by what its callee does.
  std::vector<Value*> by(Node* node) {
    GraphFunction* callee = called_function(node);
    if (callee == nullptr) return written_inputs(node);
    const std::size_t first = node->kind() == c10::prim::CallFunction ? 1 : 0;
    std::vector<Value*> values;
    for (const std::size_t input : of(callee)) values.push_back(node->input(input + first));
    return values;
  }

private:
  std::unordered_map<GraphFunction*, std::set<std::size_t>> known_;
};

void add_cells(Value* value, std::set<Cell>& cells, int depth) {
  constexpr int kNestedCalls = 8;
  for (const Base& base : bases(value, type_cell)) {
    if (base.kind == Base::Kind::kCell) cells.insert(base.cell);
    // A method that hands out an attribute of its own.
    torch::jit::Graph* callee =
        base.kind == Base::Kind::kLocal && is_call(base.node) ? callee_graph(base.node) : nullptr;
    if (callee == nullptr || depth == kNestedCalls) continue;
    for (Value* output : callee->outputs()) add_cells(output, cells, depth + 1);
  }
}

std::set<Cell> cells_of(const std::vector<Value*>& values) {
  std::set<Cell> cells;
  for (Value* value : values) add_cells(value, cells, 0);
  return cells;
}

// The methods that run when the model runs in eval mode, or that somebody outside may call at any time.
std::unordered_set<GraphFunction*> functions_in_eval(const ModuleIndex& index) {
  std::unordered_set<GraphFunction*> called;
  for (const auto& [type, function] : index.methods()) {
    for_each_node(function->graph()->block(), [&](Node* node) { called.insert(called_function(node)); });
  }
  std::vector<GraphFunction*> pending;
  for (const auto& [type, function] : index.methods()) {
    const bool is_of_root = index.root().type()->findMethod(function->name()) == function;
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

StateWriters::StateWriters(const ModuleIndex& index) {
  WrittenInputs written;
  const auto running = functions_in_eval(index);
  for (const auto* functions : {&index.methods(), &index.hooks()}) {
    for (const ModuleIndex::Method& method : *functions) {
      GraphFunction* function = method.function;
      const bool runs = functions == &index.hooks() || running.count(function) != 0;
      for_each_node(function->graph()->block(), [&](Node* node) {
        StateWriter writer;
        if (node->kind() == c10::prim::SetAttr) {
          if (const auto cell = type_cell(node)) writer.cells.insert(*cell);
        } else {
          writer.cells = cells_of(written.by(node));
        }
        if (writer.cells.empty()) return;
        writer.id = static_cast<std::int64_t>(writers_.size());
        writer.in_eval = runs && runs_in_eval(node);
        writer.method = function->name();
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

}  // namespace flashconvert
