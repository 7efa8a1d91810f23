// Calls of methods and free functions (calls.h).
#include "graph/calls.h"

#include "graph/traversal.h"

namespace flashconvert {

using torch::jit::Block;
using torch::jit::GraphFunction;
using torch::jit::Node;
namespace prim = c10::prim;

bool is_call(const Node* node) { return node->kind() == prim::CallMethod || node->kind() == prim::CallFunction; }

GraphFunction* called_function(const Node* call) {
  torch::jit::Function* function = nullptr;
  if (call->kind() == prim::CallMethod) {
    const auto type = call->input(0)->type()->cast<c10::ClassType>();
    function = type ? type->findMethod(call->s(c10::attr::name)) : nullptr;
  } else if (call->kind() == prim::CallFunction) {
    const auto type = call->input(0)->type()->cast<c10::FunctionType>();
    function = type ? type->function() : nullptr;
  }
  return function_with_graph(function);
}

torch::jit::Graph* callee_graph(const Node* call) {
  GraphFunction* function = called_function(call);
  return function != nullptr ? function->graph().get() : nullptr;
}

torch::jit::Value* only_result(const Node* call) {
  const torch::jit::Graph* graph = callee_graph(call);
  return graph != nullptr && graph->outputs().size() == 1 ? const_cast<torch::jit::Value*>(graph->outputs()[0])
                                                          : nullptr;
}

void inline_call(Node* call) {
  GraphFunction* function = called_function(call);
  if (call->kind() == prim::CallFunction) call->removeInput(0);  // the function itself
  torch::jit::inlineCallTo(call, function, function->graph().get());
}

bool may_write(const Node* node) {
  return any_node_within(node, [](const Node* inner) {
    if (is_call(inner)) {
      const torch::jit::Graph* callee = callee_graph(inner);
      return callee == nullptr || may_write(callee->block());
    }
    const auto* schema = inner->maybeSchema();
    return inner->kind() == prim::SetAttr || (schema != nullptr && schema->is_mutable());
  });
}

bool may_write(const Block* block) {
  return any_node(block, [](const Node* node) { return may_write(node); });
}

}  // namespace flashconvert
