// See linear_activation.h.
#include "rewrite/linear_activation.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <optional>
#include <string>

#include "graph/attributes.h"
#include "graph/calls.h"
#include "graph/traversal.h"
#include "rewrite/linear.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;
namespace prim = c10::prim;

constexpr std::size_t kActivationInput = 3;  // of flashconvert::linear

bool is_linear(const Node* node) {
  static const auto kOperator = c10::Symbol::fromQualString(kLinearOperator);
  return node->kind() == kOperator;
}

bool has_activation(const Node* linear) {
  const auto activation = torch::jit::toIValue(linear->input(kActivationInput));
  return !activation || activation->toStringRef() != "none";
}

// The operator's name of the activation that a node computes of its first input.
std::optional<std::string> activation_of(const Node* node) {
  if (node->kind() == aten::relu || node->kind() == aten::relu_) return "relu";
  if (node->kind() == aten::silu || node->kind() == aten::silu_) return "silu";
  if (node->kind() != aten::gelu && node->kind() != aten::gelu_) return std::nullopt;
  const auto approximate = torch::jit::toIValue(node->input(1));
  if (!approximate || !approximate->isString()) return std::nullopt;
  return approximate->toStringRef() == "tanh" ? "gelu_tanh" : "gelu";
}

bool has_hooks(const Node* call) {
  const auto type = call->kind() == prim::CallMethod ? call->input(0)->type()->cast<c10::ClassType>() : nullptr;
  return type && !(type->getForwardHooks().empty() && type->getForwardPreHooks().empty());
}

// The one node that computes something in the method that a call of two arguments, module and tensor, runs, where its
// first operand is that tensor and its result the method's; null where there is more to it.
Node* only_node_of(const Node* call) {
  if (call->kind() != prim::CallMethod || call->inputs().size() != 2 || has_hooks(call)) return nullptr;
  Graph* const graph = callee_graph(call);
  if (graph == nullptr || graph->inputs().size() != 2 || graph->outputs().size() != 1) return nullptr;
  Node* const last = graph->outputs()[0]->node();
  const bool is_all = std::all_of(graph->nodes().begin(), graph->nodes().end(), [&](const Node* node) {
    return node == last || node->kind() == prim::GetAttr || node->kind() == prim::Constant;
  });
  const bool takes_tensor = last->kind() != prim::Param && !last->inputs().empty() &&
                            last->input(0) == graph->inputs()[1] && graph->inputs()[1]->uses().size() == 1;
  return is_all && takes_tensor ? last : nullptr;
}

// What takes the layer's result, and the activation that it is.
struct Activation {
  Node* node = nullptr;
  std::size_t operand = 0;  // the layer's result
  std::string name;
};

std::optional<Activation> activation_after(const Value* result) {
  if (result->uses().size() != 1) return std::nullopt;
  const torch::jit::Use use = result->uses()[0];
  if (use.user->owningBlock() != result->node()->owningBlock()) return std::nullopt;
  const bool is_module = use.user->kind() == prim::CallMethod;
  if (use.offset != (is_module ? 1U : 0U)) return std::nullopt;
  const Node* const computing = is_module ? only_node_of(use.user) : use.user;
  const auto name = computing != nullptr ? activation_of(computing) : std::nullopt;
  return name ? std::optional(Activation{use.user, use.offset, *name}) : std::nullopt;
}

// A call of a module that is a linear layer and nothing else.
bool is_layer(const Node* call) {
  const Node* const only = only_node_of(call);
  return only != nullptr && is_linear(only) && !has_activation(only) && module_path(call->input(0));
}

// Gives the activation to its layer, and returns the operator's node.
Node* fuse(Node* layer, const Activation& activation) {
  if (is_call(layer)) inline_call(layer);
  Node* const linear = activation.node->input(activation.operand)->node();
  Graph& graph = *linear->owningGraph();
  const torch::jit::WithInsertPoint before(linear);
  linear->replaceInput(kActivationInput, graph.insertConstant(activation.name));
  Value* const result = activation.node->output();
  const std::string name = result->hasDebugName() ? result->debugName() : "";
  result->replaceAllUsesWith(linear->output());
  activation.node->destroy();
  if (!name.empty()) linear->output()->setDebugName(name);
  return linear;
}

}  // namespace

std::vector<Node*> fuse_activations(Graph& graph) {
  std::vector<Node*> layers;
  for_each_node(graph.block(), [&](Node* node) {
    if ((is_linear(node) && !has_activation(node)) || (node->kind() == prim::CallMethod && is_layer(node))) {
      layers.push_back(node);
    }
  });
  std::vector<Node*> fused;
  for (Node* layer : layers) {
    const auto activation = activation_after(layer->output());
    if (activation) fused.push_back(fuse(layer, *activation));
  }
  return fused;
}

}  // namespace flashconvert::rewrite
