// Twins of methods that are called with a causal mask (hand_down.h).
#include "rewrite/hand_down.h"

#include <torch/csrc/jit/passes/remove_mutation.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "common/function_with_graph.h"
#include "rewrite/module_tree.h"
#include "rewrite/weights/graph_tools.h"
#include "survey/canonicalise.h"
#include "survey/graph_facts.h"
#include "survey/handed_mask.h"
#include "survey/one_thread.h"

namespace flashconvert::rewrite {
namespace {

using c10::ClassTypePtr;
using survey::HandedMask;
using survey::MethodSurvey;
using survey::Survey;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// What the names of twins end with, by the mask on which they rely.
constexpr const char* kCausal = "_causal";
constexpr const char* kCausalAndMore = "_causal_and_more";

// A method that relies on the mask that it is given, beside the one that it was made from.
struct Twin {
  ClassTypePtr type;
  std::string method;
  std::string name;
};

std::shared_ptr<Graph> graph_of(const ClassTypePtr& type, const std::string& method) {
  auto* function = function_with_graph(type->findMethod(method));
  return function ? function->graph() : nullptr;
}

std::vector<Node*> method_calls(Graph& graph) {
  std::vector<Node*> calls;
  weights::for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == c10::prim::CallMethod && node->input(0)->type()->cast<c10::ClassType>()) calls.push_back(node);
  });
  return calls;
}

ClassTypePtr callee_type(const Node* call) { return call->input(0)->type()->expect<c10::ClassType>(); }

bool is_call_of(const Node* call, const ClassTypePtr& type, const std::string& method) {
  return callee_type(call) == type && call->s(c10::attr::name) == method;
}

void redirect_calls(Graph& graph, const Twin& from, const std::string& to) {
  for (Node* call : method_calls(graph)) {
    if (is_call_of(call, from.type, from.name)) call->s_(c10::attr::name, to);
  }
}

// Makes the twins, and has the calls that may go to them.
class HandDown {
public:
  explicit HandDown(const Module& root) {
    for (const auto& instances : instances_by_type(root)) {
      // A mask may be made of an instance's own buffers.
      if (instances.size() == 1) redirect_calls_of(instances.front().module);
    }
  }

  const survey::HandedMasks& masks() const { return masks_; }
  const std::vector<Twin>& twins() const { return twins_; }  // those that a twin calls stand before it

private:
  void redirect_calls_of(const Module& module) {
    const std::vector<torch::jit::Method> methods = module.get_methods();
    for (const auto& method : methods) {
      if (const auto graph = graph_of(module.type(), method.name())) redirect_calls_in(*graph, module);
    }
  }

  void redirect_calls_in(Graph& graph, const Module& module) {
    const std::vector<Node*> calls = method_calls(graph);
    if (calls.empty()) return;
    // Masks are read in a copy without in-place operators.
    const std::shared_ptr<Graph> copy = graph.copy();
    torch::jit::RemoveTensorMutation(copy);
    const std::vector<Node*> copies = method_calls(*copy);
    const survey::GraphFacts facts(module);
    std::map<Value*, std::optional<HandedMask>> known;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      for (std::size_t input = 1; input < calls[i]->inputs().size(); ++input) {
        Value* argument = copies.at(i)->input(input);
        if (!survey::is_tensor(argument) || argument->node()->kind() == c10::prim::Param) continue;
        const auto [place, is_new] = known.try_emplace(argument);
        if (is_new) place->second = survey::read_built_mask(argument, facts);
        if (place->second && redirect(calls[i], input, *place->second)) break;
      }
    }
  }

  bool redirect(Node* call, std::size_t input, HandedMask mask) {
    const auto twin = twin_of(callee_type(call), call->s(c10::attr::name), input, mask);
    if (twin) call->s_(c10::attr::name, *twin);
    return twin.has_value();
  }

  // The twin of a method to which the mask may matter; nothing where it is of no use.
  std::optional<std::string> twin_of(const ClassTypePtr& type, const std::string& method, std::size_t input,
                                     HandedMask mask) {
    const auto key = std::make_tuple(type.get(), method, input, mask.lowest, mask.is_causal);
    const auto [place, is_new] = made_.try_emplace(key);
    if (is_new) {
      auto name = make_twin(type, method, input, mask);
      made_[key] = std::move(name);
    }
    return made_.at(key);
  }

  std::optional<std::string> make_twin(const ClassTypePtr& type, const std::string& method, std::size_t input,
                                       HandedMask mask) {
    const std::shared_ptr<Graph> original = graph_of(type, method);
    const bool has_hooks = !type->getForwardHooks().empty() || !type->getForwardPreHooks().empty();
    if (!original || has_hooks || !survey::is_tensor(original->inputs().at(input))) return std::nullopt;
    const std::shared_ptr<Graph> graph = original->copy();
    Value* handed = graph->inputs()[input];
    bool is_of_use = survey::has_attention_candidate(graph->block());
    for (Node* call : method_calls(*graph)) {
      for (std::size_t i = 1; i < call->inputs().size(); ++i) {
        if (call->input(i) == handed && redirect(call, i, mask)) is_of_use = true;
      }
    }
    if (!is_of_use) return std::nullopt;
    const Twin twin{type, method, free_name(*type, method + (mask.is_causal ? kCausal : kCausalAndMore))};
    auto* function = type->compilation_unit()->create_function(c10::QualifiedName(*type->name(), twin.name), graph);
    function->setSchema(type->getMethod(method).getSchema());
    type->addMethod(function);
    masks_[{type.get(), twin.name}][input] = mask;
    twins_.push_back(twin);
    return twin.name;
  }

  static std::string free_name(const c10::ClassType& type, std::string name) {
    while (type.findMethod(name) || type.hasAttribute(name) || type.hasConstant(name)) name += "_";
    return name;
  }

  survey::HandedMasks masks_;
  std::vector<Twin> twins_;
  std::map<std::tuple<const c10::ClassType*, std::string, std::size_t, double, bool>, std::optional<std::string>> made_;
};

// Whether the twin's own attention is fused where the method's is not, or as causal where that has a bias.
bool has_better_attention(const Twin& twin, const Survey& survey) {
  const auto of_type = [&](const MethodSurvey& found, const std::string& method) {
    return found.module.type() == twin.type && found.method == method;
  };
  for (const MethodSurvey& found : survey.methods) {
    if (!of_type(found, twin.name)) continue;
    const auto original = std::find_if(survey.methods.begin(), survey.methods.end(), [&](const MethodSurvey& other) {
      return of_type(other, twin.method) && other.module == found.module;
    });
    for (std::size_t i = 0; i < found.sites.size(); ++i) {
      const report::AttentionEntry& entry = found.sites[i].entry;
      if (entry.status != report::SiteStatus::kFused) continue;
      if (original == survey.methods.end() || i >= original->sites.size()) return true;
      const report::AttentionEntry& before = original->sites[i].entry;
      if (before.status != report::SiteStatus::kFused || (entry.causal && !before.causal)) return true;
    }
  }
  return false;
}

template <typename Visit>
void for_each_method_graph(const Module& root, const Visit& visit) {
  for (const ClassTypePtr& type : module_types(root)) {
    for (torch::jit::Function* method : type->methods()) {
      if (const auto graph = graph_of(type, method->name())) visit(*graph);
    }
  }
}

using Methods = std::set<std::pair<const c10::ClassType*, std::string>>;

void add_with_callees(const ClassTypePtr& type, const std::string& method, Methods& methods) {
  const auto graph = graph_of(type, method);
  if (!graph || !methods.emplace(type.get(), method).second) return;
  for (const Node* call : method_calls(*graph)) add_with_callees(callee_type(call), call->s(c10::attr::name), methods);
}

// What runs when a method of the root is called.
Methods methods_that_run(const Module& root) {
  Methods methods;
  for (torch::jit::Function* method : root.type()->methods()) add_with_callees(root.type(), method->name(), methods);
  return methods;
}

bool calls_a_twin(const Twin& twin, const std::vector<Twin>& twins) {
  const std::vector<Node*> calls = method_calls(*graph_of(twin.type, twin.name));
  return std::any_of(calls.begin(), calls.end(), [&](const Node* call) {
    return std::any_of(twins.begin(), twins.end(),
                       [&](const Twin& other) { return is_call_of(call, other.type, other.name); });
  });
}

void take_back(const Module& root, const Twin& twin, Survey& survey) {
  for_each_method_graph(root, [&](Graph& graph) { redirect_calls(graph, twin, twin.method); });
  auto& methods = survey.methods;
  methods.erase(std::remove_if(methods.begin(), methods.end(),
                               [&](const MethodSurvey& found) {
                                 return found.module.type() == twin.type && found.method == twin.name;
                               }),
                methods.end());
  for (MethodSurvey& found : methods) redirect_calls(*found.graph, twin, twin.method);
  twin.type->unsafeRemoveMethod(twin.name);
  twin.type->compilation_unit()->unsafeRemoveMethod(c10::QualifiedName(*twin.type->name(), twin.name));
}

// Methods that only callers from outside run, since a twin of theirs is called; also one that the file came with.
void report_twins_alone(const Module& root, Survey& survey) {
  const Methods running = methods_that_run(root);
  for (MethodSurvey& found : survey.methods) {
    const auto runs = [&](const std::string& method) {
      return running.count({found.module.type().get(), method}) != 0;
    };
    if (runs(found.method) || (!runs(found.method + kCausal) && !runs(found.method + kCausalAndMore))) continue;
    for (survey::Site& site : found.sites) site.is_other_path = true;
  }
}

}  // namespace

Survey survey_with_handed_masks(Module& root, survey::Backend backend,
                                const std::function<bool(const std::string& path)>& selected) {
  const survey::OneThread one_thread;
  const HandDown handed(root);
  Survey survey = survey::survey_attention(root, backend, selected, handed.masks());
  std::vector<Twin> kept;
  for (const Twin& twin : handed.twins()) {
    if (has_better_attention(twin, survey) || calls_a_twin(twin, kept)) {
      kept.push_back(twin);
      for (MethodSurvey& found : survey.methods) {
        if (found.module.type() == twin.type && found.method == twin.name) found.twin_of = twin.method;
      }
    } else {
      take_back(root, twin, survey);
    }
  }
  report_twins_alone(root, survey);
  return survey;
}

}  // namespace flashconvert::rewrite
