// Working copies of method graphs (canonicalise.h).
#include "survey/canonicalise.h"

#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/lower_tuples.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "common/function_with_graph.h"
#include "survey/branches.h"
#include "survey/graph_facts.h"
#include "survey/resolve_branches.h"
#include "survey/rules/attention_layer.h"
#include "survey/score_modules.h"

namespace flashconvert::survey {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::GraphFunction;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace attr = c10::attr;

namespace {

const std::unordered_set<std::string>& candidate_operators() {
  static const std::unordered_set<std::string> names{"aten::softmax",
                                                     "aten::_softmax",
                                                     "aten::_safe_softmax",
                                                     "aten::scaled_dot_product_attention",
                                                     "aten::_native_multi_head_attention",
                                                     "aten::_transformer_encoder_layer_fwd"};
  return names;
}

// The operators that the walk can step over; a call is inlined only when its body holds nothing else.
const std::unordered_set<std::string>& walked_operators() {
  static const std::unordered_set<std::string> names{"aten::softmax",
                                                     "aten::_softmax",
                                                     "aten::_safe_softmax",
                                                     "aten::dropout",
                                                     "aten::dropout_",
                                                     "aten::matmul",
                                                     "aten::bmm",
                                                     "aten::baddbmm",
                                                     "aten::einsum",
                                                     "aten::masked_fill",
                                                     "aten::mul",
                                                     "aten::div",
                                                     "aten::add",
                                                     "aten::sub",
                                                     "aten::masked_fill_",
                                                     "aten::mul_",
                                                     "aten::div_",
                                                     "aten::add_",
                                                     "aten::where",
                                                     "aten::transpose",
                                                     "aten::permute",
                                                     "aten::view",
                                                     "aten::reshape",
                                                     "aten::to",
                                                     "aten::contiguous",
                                                     "aten::size",
                                                     "aten::unsqueeze",
                                                     "aten::squeeze",
                                                     "aten::expand",
                                                     "aten::tanh",
                                                     "aten::type_as",
                                                     "aten::float",
                                                     "aten::eq",
                                                     "aten::Int",
                                                     "aten::sqrt",
                                                     "aten::clone",
                                                     "aten::detach",
                                                     "aten::logical_not",
                                                     "aten::bitwise_not",
                                                     "aten::pow",
                                                     "aten::alias",
                                                     "aten::dim",
                                                     "aten::__is__",
                                                     "aten::__isnot__",
                                                     "aten::__not__",
                                                     "aten::lt",
                                                     "aten::gt",
                                                     "aten::format",
                                                     "aten::floor_divide",
                                                     "aten::neg",
                                                     "aten::rsqrt",
                                                     "aten::reciprocal",
                                                     "aten::Float",
                                                     "aten::warn",
                                                     "aten::scaled_dot_product_attention",
                                                     "aten::triu",
                                                     "aten::tril",
                                                     "aten::ones",
                                                     "aten::zeros",
                                                     "aten::full",
                                                     "aten::full_like",
                                                     "aten::zeros_like",
                                                     "aten::ones_like",
                                                     "aten::ge",
                                                     "aten::le",
                                                     "aten::arange",
                                                     "aten::slice",
                                                     "aten::logical_and",
                                                     "aten::bitwise_and",
                                                     "aten::tensor",
                                                     "aten::__contains__",
                                                     "aten::ne",
                                                     "aten::max",
                                                     "aten::amax"};
  return names;
}

bool any_node(const Block* block, const std::function<bool(const Node*)>& predicate) {
  for (const Node* node : block->nodes()) {
    if (predicate(node)) return true;
    for (const Block* inner : node->blocks()) {
      if (any_node(inner, predicate)) return true;
    }
  }
  return false;
}

// Of a method or function call; null where it is not known (interfaces) or no TorchScript.
GraphFunction* callee_function(const Node* call) {
  torch::jit::Function* function = nullptr;
  if (call->kind() == prim::CallMethod) {
    const auto type = call->input(0)->type()->cast<c10::ClassType>();
    function = type ? type->findMethod(call->s(attr::name)) : nullptr;
  } else if (call->kind() == prim::CallFunction) {
    const auto type = call->input(0)->type()->cast<c10::FunctionType>();
    function = type ? type->function() : nullptr;
  }
  return function_with_graph(function);
}

bool holds_tensors(const c10::ClassTypePtr& type, int depth = 0) {
  for (std::size_t i = 0; i < type->numAttributes(); ++i) {
    const auto& attribute = type->getAttribute(i);
    if (attribute->isSubtypeOf(*c10::TensorType::get())) return true;
    if (const auto inner = attribute->cast<c10::ClassType>(); inner && (depth > 8 || holds_tensors(inner, depth + 1))) {
      return true;
    }
  }
  return false;
}

bool only_walked(const Graph* graph) {
  return !any_node(graph->block(), [](const Node* node) {
    const std::string name = kind_name(node);
    if (node->kind() == prim::CallFunction || node->kind() == prim::CallMethod) {
      const Graph* inner = callee_graph(node);
      return !inner || !only_walked(inner);
    }
    return name.rfind("prim::", 0) != 0 && walked_operators().count(name) == 0;
  });
}

bool holds_part_of_attention(const Graph* graph) {
  return any_node(graph->block(), [](const Node* node) {
    if (node->kind() == prim::CallFunction || node->kind() == prim::CallMethod) {
      const Graph* inner = callee_graph(node);
      return inner && holds_part_of_attention(inner);
    }
    static const std::unordered_set<std::string> parts{"aten::softmax",      "aten::_softmax",
                                                       "aten::matmul",       "aten::bmm",
                                                       "aten::einsum",       "aten::dropout",
                                                       "aten::baddbmm",      "aten::masked_fill",
                                                       "aten::masked_fill_", "aten::scaled_dot_product_attention"};
    return parts.count(kind_name(node)) != 0;
  });
}

// What a graph holds of an attention.
struct Parts {
  int products = 0;
  bool softmax = false;
  bool fused = false;
  bool is_complete() const { return fused || (softmax && products >= 2); }
};

void count_parts(const Graph* graph, bool in_functions, Parts& parts) {
  any_node(graph->block(), [&](const Node* node) {
    const std::string name = kind_name(node);
    parts.products +=
        name == "aten::matmul" || name == "aten::bmm" || name == "aten::einsum" || name == "aten::baddbmm";
    parts.softmax = parts.softmax || name == "aten::softmax" || name == "aten::_softmax";
    parts.fused = parts.fused || name == "aten::scaled_dot_product_attention";
    const Graph* callee = in_functions && node->kind() == prim::CallFunction ? callee_graph(node) : nullptr;
    if (callee) count_parts(callee, in_functions, parts);
    return false;
  });
}

// A whole attention in itself. That of a method is surveyed (and reported) where it stands, not in its caller; one of a
// function, with the functions that it calls, is its caller's.
bool is_complete_attention(const Graph* graph, bool in_functions) {
  Parts parts;
  count_parts(graph, in_functions, parts);
  return parts.is_complete();
}

// Follows producers of `value` through walked operators: is there a softmax (or a product) close by? Keeps the dropouts
// of the rest of the model where they are.
bool stands_near_attention(const Node* call) {
  const auto is_near = [](const Node* node) {
    const std::string name = kind_name(node);
    return name == "aten::softmax" || name == "aten::_softmax" || name == "aten::matmul" || name == "aten::bmm" ||
           name == "aten::einsum" || name == "aten::baddbmm";
  };
  std::vector<std::pair<const Node*, int>> pending{{call, 0}};
  std::unordered_set<const Node*> seen;
  constexpr int kSteps = 6;
  while (!pending.empty()) {
    const auto [node, steps] = pending.back();
    pending.pop_back();
    if (steps > kSteps || !seen.insert(node).second) continue;
    if (node != call && is_near(node)) return true;
    for (const Value* input : node->inputs()) {
      if (!input->type()->isSubtypeOf(*c10::TensorType::get())) continue;
      const Node* producer = input->node();
      const bool passable = walked_operators().count(kind_name(producer)) != 0 || producer->kind() == prim::CallMethod;
      if (passable) pending.emplace_back(producer, steps + 1);
    }
  }
  return false;
}

bool should_inline(const Node* call) {
  const Graph* callee = callee_graph(call);
  if (!callee) return false;
  if (call->kind() == prim::CallFunction) {
    return is_complete_attention(callee, /*in_functions=*/true) ||
           (holds_part_of_attention(callee) && only_walked(callee));
  }
  if (changes_scores(call, callee)) return true;
  const auto type = call->input(0)->type()->cast<c10::ClassType>();
  return !holds_tensors(type) && only_walked(callee) && !is_complete_attention(callee, /*in_functions=*/false) &&
         (holds_part_of_attention(callee) || stands_near_attention(call));
}

bool inline_calls(Block* block) {
  bool changed = false;
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) changed |= inline_calls(inner);
    if ((node->kind() == prim::CallMethod || node->kind() == prim::CallFunction) && should_inline(node)) {
      GraphFunction* function = callee_function(node);
      if (node->kind() == prim::CallFunction) node->removeInput(0);  // the function itself
      torch::jit::inlineCallTo(node, function, function->graph().get());
      changed = true;
    }
  }
  return changed;
}

bool has_branches(const Block* block) {
  return any_node(block, [](const Node* node) { return node->kind() == prim::If; });
}

bool has_mutation(const Block* block) {
  return any_node(block, [](const Node* node) {
    const auto* schema = node->maybeSchema();
    return schema && schema->is_mutable();
  });
}

}  // namespace

Graph* callee_graph(const Node* call) {
  GraphFunction* function = callee_function(call);
  return function ? function->graph().get() : nullptr;
}

bool has_attention_candidate(const Block* block) {
  return any_node(block, [](const Node* node) {
    return candidate_operators().count(kind_name(node)) != 0 || is_attention_layer_call(node);
  });
}

bool holds_nested_tensors(const torch::jit::Module& module, const std::string& method) {
  auto* function = function_with_graph(&module.get_method(method).function());
  return function && any_node(function->graph()->block(),
                              [](const Node* node) { return kind_name(node) == "aten::_nested_tensor_from_mask"; });
}

bool calls_only_pure_operators(const Node* call) {
  const Graph* callee = callee_graph(call);
  return callee && !has_mutation(callee->block()) && !any_node(callee->block(), [](const Node* node) {
           const bool is_call = node->kind() == prim::CallMethod || node->kind() == prim::CallFunction;
           return node->kind() == prim::SetAttr || (is_call && !calls_only_pure_operators(node));
         });
}

std::shared_ptr<Graph> canonical_copy(const torch::jit::Module& module, const std::string& method) {
  auto* function = function_with_graph(&module.get_method(method).function());
  if (!function) return nullptr;
  std::shared_ptr<Graph> graph = function->graph()->copy();
  constexpr int kNestedCalls = 8;
  const auto inline_all = [&] {
    bool changed = false;
    // torch.nn's own layer is read as a whole, where it is called.
    if (is_attention_layer(module.type())) return changed;
    for (int round = 0; round < kNestedCalls && inline_calls(graph->block()); ++round) changed = true;
    if (changed) torch::jit::LowerSimpleTuples(graph);
    return changed;
  };
  inline_all();
  if (!has_attention_candidate(graph->block())) return nullptr;
  const GraphFacts facts(module);
  if (has_branches(graph->block())) {
    resolve_branches(graph, facts);
    if (inline_all()) resolve_branches(graph, facts);
    sink_into_branches(graph);
    torch::jit::EliminateDeadCode(graph);
  }
  if (has_mutation(graph->block())) torch::jit::RemoveTensorMutation(graph);
  return graph;
}

}  // namespace flashconvert::survey
