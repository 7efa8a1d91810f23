// Resolving branches in a working copy (resolve_branches.h).
#include "survey/resolve_branches.h"

#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/peephole.h>

#include <algorithm>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
namespace prim = c10::prim;
namespace attr = c10::attr;

namespace {

// `training` is false in the function that is converted, and attributes that are plain numbers or flags are constants.
void resolve_constant_attributes(const std::shared_ptr<Graph>& graph, const GraphFacts& facts, Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) resolve_constant_attributes(graph, facts, inner);
    if (node->kind() != prim::GetAttr) continue;
    const auto& type = node->output()->type();
    if (type->kind() != c10::TypeKind::BoolType && type->kind() != c10::TypeKind::NoneType) continue;
    const auto value = facts.attribute(node->output());
    if (!value) continue;
    torch::jit::WithInsertPoint here(node);
    const bool is_training = node->s(attr::name) == "training";
    node->output()->replaceAllUsesWith(graph->insertConstant(is_training ? c10::IValue(false) : *value));
  }
}

// Whether a value is known to be true: what it asks of a type is settled by the static type, and scores are of floating
// point (a softmax takes nothing else). Files of older versions ask both for every division.
bool is_always_true(Node* node, const GraphFacts& facts) {
  if (node->kind() == prim::isinstance) {
    const auto& types = node->tys(attr::types);
    return std::any_of(types.begin(), types.end(),
                       [&](const c10::TypePtr& type) { return node->input(0)->type()->isSubtypeOf(*type); });
  }
  return kind_name(node) == "aten::is_floating_point" && leads_to_product(node->input(0), facts);
}

bool arms_return_true(const Node* branch, std::size_t output) {
  const auto arms = branch->blocks();
  return std::all_of(arms.begin(), arms.end(), [&](const Block* arm) {
    const auto value = torch::jit::toIValue(arm->outputs()[output]);
    return value && value->isBool() && value->toBool();
  });
}

void resolve_questions(const std::shared_ptr<Graph>& graph, const GraphFacts& facts, Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) resolve_questions(graph, facts, inner);
    const bool is_branch = node->kind() == prim::If;
    if (!is_branch && !is_always_true(node, facts)) continue;
    torch::jit::WithInsertPoint here(node);
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      if (is_branch && !arms_return_true(node, i)) continue;
      node->output(i)->replaceAllUsesWith(graph->insertConstant(true));
    }
  }
}

}  // namespace

void resolve_branches(std::shared_ptr<Graph>& graph, const GraphFacts& facts) {
  resolve_constant_attributes(graph, facts, graph->block());
  resolve_questions(graph, facts, graph->block());
  torch::jit::PeepholeOptimize(graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateDeadCode(graph);
}

}  // namespace flashconvert::survey
