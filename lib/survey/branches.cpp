// Branches between the scores and their softmax (branches.h).
#include "survey/branches.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/calls.h"
#include "graph/traversal.h"
#include "survey/method_facts.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

constexpr int kMostSinks = 8;  // each one doubles what it moves

// Does the value come from a product through operators that the walk can pass, and through arms of branches?
bool comes_from_product(Value* value, int steps) {
  if (steps > kMostScoreOperators) return false;
  Node* node = value->node();
  if (is_product(node)) return true;
  if (node->kind() == prim::If) {
    const auto blocks = node->blocks();
    return std::any_of(blocks.begin(), blocks.end(),
                       [&](Block* arm) { return comes_from_product(arm->outputs()[value->offset()], steps + 1); });
  }
  const auto operands = score_operands(node);
  return std::any_of(operands.begin(), operands.end(),
                     [&](Value* operand) { return comes_from_product(operand, steps + 1); });
}

// The branch through which the scores come, in the block of the softmax; null where they come straight from a product.
Node* branch_of_scores(Value* scores, const Block* block, int steps) {
  Node* node = scores->node();
  if (steps > kMostScoreOperators || node->owningBlock() != block || is_product(node)) return nullptr;
  if (node->kind() == prim::If) return comes_from_product(scores, steps) ? node : nullptr;
  for (Value* operand : score_operands(node)) {
    if (Node* branch = branch_of_scores(operand, block, steps + 1)) return branch;
  }
  return nullptr;
}

// The second product, where the weights reach it and nothing else in the same block.
Node* product_below(Node* softmax) {
  Value* weights = softmax->output();
  for (int steps = 0; steps < kMostScoreOperators; ++steps) {
    if (weights->uses().size() != 1) return nullptr;
    Node* user = weights->uses()[0].user;
    if (user->owningBlock() != softmax->owningBlock() || user->outputs().size() != 1) return nullptr;
    if (is_product(user)) return user;
    weights = user->output();
  }
  return nullptr;
}

// What sinking moves: `down` into the arms, and `up` before the branch, what these need of the nodes in between.
struct Move {
  std::vector<Node*> down, up;
};

bool uses_any(const Node* node, const std::unordered_set<const Node*>& producers) {
  const auto takes_one = [&](const Node* inner) {
    const auto inputs = inner->inputs();
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](const Value* input) { return producers.count(input->node()) != 0; });
  };
  return any_node_within(node, [&](const Node* inner) {
    const auto blocks = inner->blocks();
    return takes_one(inner) || std::any_of(blocks.begin(), blocks.end(),
                                           [&](const Block* block) { return takes_one(block->return_node()); });
  });
}

bool is_used_outside(const Node* node, const std::unordered_set<const Node*>& inside) {
  const auto outputs = node->outputs();
  return std::any_of(outputs.begin(), outputs.end(), [&](const Value* output) {
    return std::any_of(output->uses().begin(), output->uses().end(),
                       [&](const auto& use) { return inside.count(use.user) == 0; });
  });
}

// Nothing where something between the branch and the product stands in the way.
std::optional<Move> plan_move(Node* branch, Node* product) {
  std::unordered_set<const Node*> dependent{branch};
  for (Node* node = branch->next(); node != product->next(); node = node->next()) {
    if (may_write(node)) return std::nullopt;
    if (uses_any(node, dependent)) dependent.insert(node);
  }
  std::unordered_set<const Node*> needed;
  const auto need_inputs = [&](const Node* node) {
    for (const Value* input : node->inputs()) needed.insert(input->node());
  };
  Move move;
  needed.insert(product);
  for (Node* node = product; node != branch; node = node->prev()) {
    if (needed.count(node) == 0) continue;
    if (!node->blocks().empty()) return std::nullopt;
    need_inputs(node);
    (dependent.count(node) != 0 ? move.down : move.up).push_back(node);
  }
  std::reverse(move.down.begin(), move.down.end());
  std::reverse(move.up.begin(), move.up.end());
  const std::unordered_set<const Node*> inside(move.down.begin(), move.down.end());
  for (const Node* node : move.down) {
    if (node != product && is_used_outside(node, inside)) return std::nullopt;
  }
  if (may_write(branch) &&
      std::any_of(move.up.begin(), move.up.end(), [](const Node* node) { return node->kind() != prim::Constant; })) {
    return std::nullopt;
  }
  return move;
}

void apply(const Move& move, Node* branch) {
  Graph& graph = *branch->owningGraph();
  for (Node* node : move.up) node->moveBefore(branch);
  for (Block* arm : branch->blocks()) {
    std::unordered_map<Value*, Value*> copies;
    for (std::size_t i = 0; i < branch->outputs().size(); ++i) copies[branch->output(i)] = arm->outputs()[i];
    for (Node* node : move.down) {
      Node* copy = graph.createClone(node, [&](Value* value) {
        const auto found = copies.find(value);
        return found == copies.end() ? value : found->second;
      });
      arm->appendNode(copy);
      for (std::size_t i = 0; i < node->outputs().size(); ++i) copies[node->output(i)] = copy->output(i);
    }
    arm->registerOutput(copies.at(move.down.back()->output()));
  }
  Value* result = branch->addOutput();
  result->copyMetadata(move.down.back()->output());
  move.down.back()->output()->replaceAllUsesWith(result);
  for (auto node = move.down.rbegin(); node != move.down.rend(); ++node) (*node)->destroy();
}

bool sink_one(const std::shared_ptr<Graph>& graph) {
  std::vector<Node*> softmaxes;
  for_each_node(graph->block(), [&](Node* node) {
    if (is_softmax(node)) softmaxes.push_back(node);
  });
  for (Node* softmax : softmaxes) {
    Node* branch = branch_of_scores(softmax->input(0), softmax->owningBlock(), 0);
    Node* product = branch ? product_below(softmax) : nullptr;
    if (!product) continue;
    if (const auto move = plan_move(branch, product)) {
      apply(*move, branch);
      return true;
    }
  }
  return false;
}

}  // namespace

void sink_into_branches(const std::shared_ptr<Graph>& graph) {
  for (int sinks = 0; sinks < kMostSinks && sink_one(graph); ++sinks) {
  }
}

bool exclude_each_other(const Node* a, const Node* b) {
  std::unordered_map<const Node*, const Block*> arms;
  const auto owner = [](const Node* node) { return node->owningBlock()->owningNode(); };
  for (const Node* node = a; owner(node); node = owner(node)) arms[owner(node)] = node->owningBlock();
  for (const Node* node = b; owner(node); node = owner(node)) {
    const auto arm = arms.find(owner(node));
    if (arm != arms.end()) return owner(node)->kind() == prim::If && arm->second != node->owningBlock();
  }
  return false;
}

bool are_arms_of_one(const Node* a, const Node* b) {
  return a->kind() == b->kind() && a->sourceRange() == b->sourceRange() && exclude_each_other(a, b);
}

std::vector<Node*> nodes_between(Node* first, Node* last) {
  std::vector<Node*> nodes;
  Node* end = last;
  while (end->owningBlock() != first->owningBlock()) {
    auto before = end->owningBlock()->nodes();
    for (Node* node = *before.begin(); node != end; node = node->next()) nodes.push_back(node);
    end = end->owningBlock()->owningNode();
    if (!end || end->kind() != prim::If) throw Declined("the two products stand in different branches");
  }
  for (Node* node = first->next(); node != end; node = node->next()) nodes.push_back(node);
  return nodes;
}

}  // namespace flashconvert::survey
