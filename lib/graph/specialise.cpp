// What a method does in one mode, as a graph (specialise.h).
#include "graph/specialise.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "graph/calls.h"
#include "graph/traversal.h"

namespace flashconvert {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace attr = c10::attr;

void replace_by_constant(Graph& graph, Value* value, const c10::IValue& constant) {
  const torch::jit::WithInsertPoint here(value->node());
  value->replaceAllUsesWith(graph.insertConstant(constant));
}

// Says of each read of `training` what it is, and of each question about a type what the static type says.
void answer_questions(Mode mode, Graph& graph) {
  std::vector<Value*> flags, yes;
  for_each_node(graph.block(), [&](Node* node) {
    if (reads_training(node)) flags.push_back(node->output());
    if (node->kind() != prim::isinstance) return;
    const auto& types = node->tys(attr::types);
    const bool is_settled = std::any_of(types.begin(), types.end(), [&](const c10::TypePtr& type) {
      return node->input(0)->type()->isSubtypeOf(*type);
    });
    if (is_settled) yes.push_back(node->output());
  });
  for (Value* value : flags) replace_by_constant(graph, value, mode == Mode::kTraining);
  for (Value* value : yes) replace_by_constant(graph, value, true);
}

void splice(Node* branch, Block* taken) {
  for (std::size_t i = 0; i < branch->outputs().size(); ++i) {
    branch->output(i)->replaceAllUsesWith(taken->outputs()[i]);
  }
  const std::vector<Node*> nodes(taken->nodes().begin(), taken->nodes().end());
  for (Node* node : nodes) node->moveBefore(branch);
  branch->destroy();
}

// Both arms give the same constant: the result of `a and b` where the branch is not known but what follows is.
std::optional<bool> agreed_result(const Node* branch, std::size_t output) {
  std::optional<bool> agreed;
  for (const Block* arm : branch->blocks()) {
    const auto value = torch::jit::toIValue(arm->outputs()[output]);
    if (!value || !value->isBool() || (agreed && *agreed != value->toBool())) return std::nullopt;
    agreed = value->toBool();
  }
  return agreed;
}

bool resolve_one(Graph& graph, Block* block, const GraphFacts& facts) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) {
      if (resolve_one(graph, inner, facts)) return true;
    }
    if (node->kind() != prim::If) continue;
    if (const auto condition = facts.condition(node->input(0))) {
      splice(node, node->blocks()[*condition ? 0 : 1]);
      return true;
    }
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      const auto agreed = node->output(i)->hasUses() ? agreed_result(node, i) : std::nullopt;
      if (!agreed) continue;
      replace_by_constant(graph, node->output(i), *agreed);
      return true;
    }
  }
  return false;
}

// Whether the value is true only where some module is in training mode.
bool asks_for_training(const Node* node) {
  if (node->kind() != c10::aten::__or__) return reads_training(node);
  return asks_for_training(node->input(0)->node()) && asks_for_training(node->input(1)->node());
}

}  // namespace

bool inline_calls(Graph& graph, const std::function<bool(Node*)>& wanted, int rounds) {
  bool changed = false;
  for (int round = 0; round < rounds; ++round) {
    std::vector<Node*> calls;
    for_each_node(graph.block(), [&](Node* node) {
      if (is_call(node) && called_function(node) != nullptr && wanted(node)) calls.push_back(node);
    });
    if (calls.empty()) break;
    for (Node* call : calls) inline_call(call);
    changed = true;
  }
  return changed;
}

bool reads_training(const Node* node) { return node->kind() == prim::GetAttr && node->s(attr::name) == "training"; }

void specialise_for(Mode mode, Graph& graph, const GraphFacts& facts) {
  answer_questions(mode, graph);
  while (resolve_one(graph, graph.block(), facts)) {
  }
}

bool runs_in_eval(const Node* node) {
  for (const Block* block = node->owningBlock(); block->owningNode() != nullptr;
       block = block->owningNode()->owningBlock()) {
    const Node* branch = block->owningNode();
    if (branch->kind() != c10::prim::If) continue;
    const Node* condition = branch->input(0)->node();
    const bool in_first = branch->blocks()[0] == block;
    if (in_first && asks_for_training(condition)) return false;
    if (!in_first && condition->kind() == c10::aten::__not__ && asks_for_training(condition->input(0)->node()))
      return false;
  }
  return true;
}

}  // namespace flashconvert
