// Working copies of method graphs (canonicalise.h).
#include "survey/canonicalise.h"

#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/lower_tuples.h>
#include <torch/csrc/jit/passes/peephole.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "graph/attributes.h"
#include "graph/calls.h"
#include "graph/function_with_graph.h"
#include "graph/same_graph.h"
#include "graph/specialise.h"
#include "graph/traversal.h"
#include "survey/branches.h"
#include "survey/method_facts.h"
#include "survey/rules/attention_layer.h"
#include "survey/rules/fused_operators.h"
#include "survey/rules/rules.h"
#include "survey/score_modules.h"

namespace flashconvert::survey {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

constexpr int kNestedCalls = 8;

// What a function may hold that stands between the parts of an attention: no layer, nothing random but dropout.
bool may_stand_between(const Node* node) {
  const std::uint64_t traits = traits_of(node);
  const bool draws = (traits & kRandom) != 0 && (traits & kDropsOut) == 0;
  return node->kind().is_prim() || node->kind() == c10::aten::scaled_dot_product_attention ||
         (traits != 0 && (traits & kProjects) == 0 && !draws);
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

bool only_stands_between(const Graph* graph) {
  return !any_node(graph->block(), [](const Node* node) {
    if (!is_call(node)) return !may_stand_between(node);
    const Graph* inner = callee_graph(node);
    return !inner || !only_stands_between(inner);
  });
}

// Whether a mask is written over what the function is given: scores, and not a mask that it makes.
bool masks_argument(const Node* node) {
  if (!is_any_of(node, {"aten::masked_fill", "aten::masked_fill_"})) return false;
  while (has_trait(node, kElementwise | kCasts | kCopies | kReshapes)) node = node->input(0)->node();
  return node->kind() == prim::Param;
}

bool holds_part_of_attention(const Graph* graph) {
  return any_node(graph->block(), [](const Node* node) {
    if (is_call(node)) {
      const Graph* inner = callee_graph(node);
      return inner && holds_part_of_attention(inner);
    }
    return has_trait(node, kSoftmax | kProduct | kDropsOut) || masks_argument(node) ||
           node->kind() == c10::aten::scaled_dot_product_attention;
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
  for_each_node(graph->block(), [&](const Node* node) {
    parts.products += is_product(node) ? 1 : 0;
    parts.softmax = parts.softmax || is_softmax(node);
    parts.fused = parts.fused || node->kind() == c10::aten::scaled_dot_product_attention;
    const Graph* callee = in_functions && node->kind() == prim::CallFunction ? callee_graph(node) : nullptr;
    if (callee) count_parts(callee, in_functions, parts);
  });
}

// A whole attention in itself. That of a method is surveyed (and reported) where it stands, not in its caller; one of a
// function, with the functions that it calls, is its caller's.
bool is_complete_attention(const Graph* graph, bool in_functions) {
  Parts parts;
  count_parts(graph, in_functions, parts);
  return parts.is_complete();
}

// Is there a softmax or a product close above the call? Keeps the dropouts of the rest of the model where they are.
bool stands_near_attention(const Node* call) {
  std::vector<std::pair<const Node*, int>> pending{{call, 0}};
  std::unordered_set<const Node*> seen;
  constexpr int kSteps = 6;
  while (!pending.empty()) {
    const auto [node, steps] = pending.back();
    pending.pop_back();
    if (steps > kSteps || !seen.insert(node).second) continue;
    if (node != call && (is_softmax(node) || is_product(node))) return true;
    for (const Value* input : node->inputs()) {
      if (!is_tensor(input)) continue;
      const Node* producer = input->node();
      const bool is_passable = traits_of(producer) != 0 && !has_trait(producer, kProjects | kNormalises);
      if (is_passable || producer->kind() == prim::CallMethod) pending.emplace_back(producer, steps + 1);
    }
  }
  return false;
}

bool should_inline(const Node* call) {
  const Graph* callee = callee_graph(call);
  if (!callee) return false;
  if (call->kind() == prim::CallFunction) {
    return is_complete_attention(callee, /*in_functions=*/true) ||
           (holds_part_of_attention(callee) && only_stands_between(callee));
  }
  if (changes_scores(call, callee)) return true;
  const auto type = call->input(0)->type()->cast<c10::ClassType>();
  return !holds_tensors(type) && only_stands_between(callee) &&
         !is_complete_attention(callee, /*in_functions=*/false) &&
         (holds_part_of_attention(callee) || stands_near_attention(call));
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

// Scores are of floating point (a softmax takes nothing else). Files of older versions ask for it at every division.
void answer_floating_point(Graph& graph, const MethodFacts& facts) {
  std::vector<Node*> questions;
  for_each_node(graph.block(), [&](Node* node) {
    if (kind_name(node) == "aten::is_floating_point" && leads_to_product(node->input(0), facts)) {
      questions.push_back(node);
    }
  });
  for (Node* question : questions) {
    const torch::jit::WithInsertPoint here(question);
    question->output()->replaceAllUsesWith(graph.insertConstant(true));
  }
}

// Takes the arms that run in the mode, folds constants and removes dead code.
void take_branches(std::shared_ptr<Graph>& graph, const MethodFacts& facts, Mode mode = Mode::kEval) {
  answer_floating_point(*graph, facts);
  specialise_for(mode, *graph, facts);
  torch::jit::PeepholeOptimize(graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateDeadCode(graph);
}

// Takes in what stands between the parts of an attention in a method of this type. Says whether there was anything.
bool inline_parts(std::shared_ptr<Graph>& graph, const c10::ClassTypePtr& type) {
  // torch.nn's own layer is read as a whole, where it is called.
  const bool changed = !is_attention_layer(type) && inline_calls(*graph, should_inline, kNestedCalls);
  if (changed) torch::jit::LowerSimpleTuples(graph);
  return changed;
}

void leave_out_inactive_dropout(Graph& graph, const MethodFacts& facts) {
  std::vector<Node*> inactive;
  for_each_node(graph.block(), [&](Node* node) {
    if (has_trait(node, kDropsOut) && is_inactive_dropout(node, facts)) inactive.push_back(node);
  });
  for (Node* node : inactive) {
    node->output()->replaceAllUsesWith(node->input(0));
    node->destroy();
  }
}

// What a mode makes of the method, to be compared with what the other makes of it.
std::shared_ptr<Graph> in_mode(Mode mode, Graph& method, const torch::jit::Module& module,
                               const MutableAttributes* mutable_attributes) {
  std::shared_ptr<Graph> graph = method.copy();
  do {
    take_branches(graph, MethodFacts(module, mutable_attributes), mode);
  } while (inline_parts(graph, module.type()));
  leave_out_inactive_dropout(*graph, MethodFacts(module, mutable_attributes));
  torch::jit::EliminateDeadCode(graph);
  return graph;
}

bool drops_out(const Node* layer_call, const torch::jit::Module& module) {
  const auto layer = object_behind(layer_call->input(0), module);
  const auto slot = layer ? layer->type()->findAttributeSlot("dropout") : std::nullopt;
  return !slot || !layer->getSlot(*slot).isDouble() || layer->getSlot(*slot).toDouble() != 0;
}

}  // namespace

bool has_attention_candidate(const Block* block) {
  return any_node(block, [](const Node* node) {
    return is_softmax(node) || is_fused_operator(node) || is_attention_layer_call(node);
  });
}

std::shared_ptr<Graph> canonical_copy(const torch::jit::Module& module, const std::string& method,
                                      const MutableAttributes* mutable_attributes) {
  auto* function = function_with_graph(&module.get_method(method).function());
  if (!function) return nullptr;
  std::shared_ptr<Graph> graph = function->graph()->copy();
  inline_parts(graph, module.type());
  if (!has_attention_candidate(graph->block())) return nullptr;
  if (has_branches(graph->block())) {
    const MethodFacts facts(module, mutable_attributes);
    take_branches(graph, facts);
    if (inline_parts(graph, module.type())) take_branches(graph, MethodFacts(module, mutable_attributes));
    sink_into_branches(graph);
    torch::jit::EliminateDeadCode(graph);
  }
  if (has_mutation(graph->block())) torch::jit::RemoveTensorMutation(graph);
  return graph;
}

std::vector<ModulePath> modules_whose_training_matters(const torch::jit::Module& module, const std::string& method,
                                                       const MutableAttributes* mutable_attributes) {
  auto* function = function_with_graph(&module.get_method(method).function());
  if (!function) return {};
  std::shared_ptr<Graph> graph = function->graph()->copy();
  inline_parts(graph, module.type());
  std::vector<ModulePath> modules;
  const auto add = [&](Value* of) {
    auto path = module_path(of);
    // Of a module that is no attribute: where `self` is trained, so is what it holds.
    if (!path) path = ModulePath{};
    if (std::find(modules.begin(), modules.end(), *path) == modules.end()) modules.push_back(std::move(*path));
  };
  bool drops = false;
  for_each_node(graph->block(), [&](Node* node) {
    if (reads_training(node)) add(node->input(0));
    if (is_attention_layer_call(node) && drops_out(node, module)) {
      add(node->input(0));
      drops = true;
    }
  });
  const auto of = [&](Mode mode) { return in_mode(mode, *graph, module, mutable_attributes); };
  if (modules.empty() || (!drops && same_graph(*of(Mode::kEval), *of(Mode::kTraining)))) return {};
  return modules;
}

}  // namespace flashconvert::survey
