// Walking over the nodes of a graph (traversal.h).
#include "graph/traversal.h"

#include <algorithm>

namespace flashconvert {

using torch::jit::Block;
using torch::jit::Node;

void for_each_node(Block* block, const std::function<void(Node*)>& visit) {
  for (Node* node : block->nodes()) {
    visit(node);
    for (Block* inner : node->blocks()) for_each_node(inner, visit);
  }
}

void for_each_node(const Block* block, const std::function<void(const Node*)>& visit) {
  for (const Node* node : block->nodes()) {
    visit(node);
    for (const Block* inner : node->blocks()) for_each_node(inner, visit);
  }
}

bool any_node(const Block* block, const std::function<bool(const Node*)>& predicate) {
  return std::any_of(block->nodes().begin(), block->nodes().end(),
                     [&](const Node* node) { return any_node_within(node, predicate); });
}

bool any_node_within(const Node* node, const std::function<bool(const Node*)>& predicate) {
  if (predicate(node)) return true;
  const auto blocks = node->blocks();
  return std::any_of(blocks.begin(), blocks.end(), [&](const Block* inner) { return any_node(inner, predicate); });
}

bool contains(const Node* node, const Block* inner) {
  for (; inner != nullptr; inner = inner->owningNode() != nullptr ? inner->owningNode()->owningBlock() : nullptr) {
    if (inner->owningNode() == node) return true;
  }
  return false;
}

Node* counterpart(Block* original, Block* copy, const Node* wanted) {
  auto twin = copy->nodes().begin();
  for (Node* node : original->nodes()) {
    if (node == wanted) return *twin;
    for (std::size_t i = 0; i < node->blocks().size(); ++i) {
      if (Node* found = counterpart(node->blocks()[i], twin->blocks()[i], wanted)) return found;
    }
    ++twin;
  }
  return nullptr;
}

torch::jit::Value* self_of(const torch::jit::Graph& graph) {
  const auto inputs = graph.block()->inputs();
  if (inputs.empty() || !inputs[0]->type()->cast<c10::ClassType>()) return nullptr;
  return const_cast<torch::jit::Value*>(inputs[0]);
}

}  // namespace flashconvert
