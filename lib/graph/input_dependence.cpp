// Which values of a graph depend on what the method is given (input_dependence.h).
#include "graph/input_dependence.h"

#include "graph/traversal.h"

namespace flashconvert {

using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;

bool InputDependence::depends(Value* value) { return find(value) != nullptr; }

std::string InputDependence::input_of(Value* value) {
  const Value* input = find(value);
  return input == nullptr ? "" : input->debugName();
}

Value* InputDependence::find(Value* value) {
  Node* node = value->node();
  if (node->kind() != c10::prim::Param) return find_in_node(node);
  Node* owner = node->owningBlock()->owningNode();
  if (owner != nullptr) return find_in_node(owner);
  return value->offset() == 0 ? nullptr : value;
}

Value* InputDependence::find_in_node(Node* node) {
  const auto known = nodes_.find(node);
  if (known != nodes_.end()) return known->second;
  nodes_[node] = nullptr;  // a loop's own values add nothing to what flows into it
  Value* found = nullptr;
  const auto look = [&](at::ArrayRef<Value*> values) {
    for (Value* value : values) {
      if (found == nullptr) found = find(value);
    }
  };
  look(node->inputs());
  for (Block* block : node->blocks()) {
    look(block->outputs());
    for_each_node(block, [&](Node* inner) {
      if (found == nullptr && inner->outputs().empty()) look(inner->inputs());
    });
  }
  return nodes_[node] = found;
}

}  // namespace flashconvert
