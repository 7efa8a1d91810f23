// Removing what a fold left without use.
#include "fold/sweep.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <map>

#include "graph/module_index.h"
#include "graph/traversal.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Block;
using torch::jit::Module;
using torch::jit::Node;

bool is_unused(const Node* node) {
  const auto outputs = node->outputs();
  return std::none_of(outputs.begin(), outputs.end(),
                      [](const torch::jit::Value* output) { return output->hasUses(); });
}

bool remove_nodes(Block* block, const std::function<bool(Node*)>& is_dead) {
  bool removed = false;
  for (auto it = block->nodes().rbegin(); it != block->nodes().rend(); ++it) {
    Node* node = *it;
    if (is_dead(node) && is_unused(node)) {
      it.destroyCurrent();
      removed = true;
      continue;
    }
    for (Block* inner : node->blocks()) removed |= remove_nodes(inner, is_dead);
  }
  return removed;
}

// `with torch.no_grad():` around nothing.
bool remove_empty_scopes(Block* block) {
  std::vector<Node*> enters;
  for_each_node(block, [&](Node* node) {
    const bool is_empty = node->kind() == c10::prim::Enter && node->next()->kind() == c10::prim::Exit &&
                          node->next()->input(0) == node->input(0);
    if (is_empty) enters.push_back(node);
  });
  for (Node* enter : enters) {
    torch::jit::Value* scope = enter->input(0);
    enter->next()->destroy();
    if (is_unused(enter)) enter->destroy();
    const auto users = scope->uses();
    const bool only_made = std::all_of(users.begin(), users.end(), [](const torch::jit::Use& use) {
      return use.user->kind() == c10::prim::CallMethod && use.user->s(c10::attr::name) == "__init__" &&
             is_unused(use.user);
    });
    if (!only_made) continue;
    for (const torch::jit::Use& use : users) use.user->destroy();
  }
  return !enters.empty();
}

// The attributes that the code of a checkpoint names.
std::set<Cell> mentioned_cells(const ModuleIndex& index) {
  std::set<Cell> cells;
  for (const auto* functions : {&index.methods(), &index.hooks()}) {
    for (const auto& [type, function] : *functions) {
      for_each_node(function->graph()->block(), [&](Node* node) {
        if (node->kind() != c10::prim::GetAttr && node->kind() != c10::prim::SetAttr) return;
        if (const auto cell = type_cell(node)) cells.insert(*cell);
      });
    }
  }
  return cells;
}

// Whether the path is one of the owners' or leads on from one.
bool is_inside(const std::string& path, const std::set<std::string>& owners) {
  if (owners.count("") != 0 || owners.count(path) != 0) return true;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1)) {
    if (owners.count(path.substr(0, dot)) != 0) return true;
  }
  return false;
}

}  // namespace

void sweep_code(const Module& root, const Liveness& before, const Liveness& after) {
  const auto is_dead = [&](Node* node) { return before.is_live(node) && !after.is_live(node); };
  const ModuleIndex index(root);
  for (const auto* functions : {&index.methods(), &index.hooks()}) {
    for (const auto& [type, function] : *functions) {
      if (before.is_live(function) && !after.is_live(function)) {
        type->unsafeRemoveMethod(function->name());
        continue;
      }
      Block* block = function->graph()->block();
      bool touched = false;
      while (remove_nodes(block, is_dead) || (touched && remove_empty_scopes(block))) {
        touched = true;
        torch::jit::EliminateDeadCode(function->graph());
      }
    }
  }
}

void sweep_attributes(const Module& root, const std::set<Cell>& cells, const std::set<Cell>& kept,
                      const std::vector<std::string>& owners) {
  const std::set<std::string> folded(owners.begin(), owners.end());
  struct Removal {
    c10::ClassTypePtr type;
    std::string name;
  };
  // From the outside in, one depth at a time: a submodule that goes takes code with it that mentions others, and what
  // is then still there has a path outside of the folded layers if it is shared with one.
  for (;;) {
    std::map<std::int64_t, std::vector<Removal>> by_depth;
    const ModuleIndex index(root);
    const std::set<Cell> mentioned = mentioned_cells(index);
    for (const auto& instances : index.instances_by_type()) {
      const c10::ClassTypePtr type = instances.front().module.type();
      const auto is_inner = [&](const Instance& instance) { return is_inside(instance.path, folded); };
      if (!std::all_of(instances.begin(), instances.end(), is_inner)) continue;
      const std::string& path = instances.front().path;
      const auto depth = std::count(path.begin(), path.end(), '.');
      for (auto cell = cells.lower_bound({type.get(), ""}); cell != cells.end() && cell->owner == type.get(); ++cell) {
        const bool is_needed = mentioned.count(*cell) != 0 || kept.count(*cell) != 0 || cell->name == "training";
        if (!is_needed && type->hasAttribute(cell->name)) by_depth[depth].push_back({type, cell->name});
      }
    }
    if (by_depth.empty()) return;
    for (const Removal& removal : by_depth.begin()->second) remove_attribute(root, removal.type, removal.name);
  }
}

void remove_attribute(const Module& root, const c10::ClassTypePtr& type, const std::string& name) {
  for (Instance& instance : instances_of(root, type)) instance.module._ivalue()->unsafeRemoveAttr(name);
  type->unsafeRemoveAttribute(name);
}

}  // namespace flashconvert::fold
