// Copies of methods that are called with a causal mask (specialised_methods.h).
#include "rewrite/specialised_methods.h"

#include <torch/csrc/jit/passes/remove_mutation.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "graph/function_with_graph.h"
#include "graph/graph_facts.h"
#include "graph/traversal.h"
#include "survey/assumed_mask.h"
#include "survey/canonicalise.h"
#include "survey/one_thread.h"

namespace flashconvert::rewrite {
namespace {

using c10::ClassTypePtr;
using survey::AssumedMask;
using survey::MethodSurvey;
using survey::Survey;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// What the names of specialised methods end with, by the mask on which they rely.
constexpr const char* kCausal = "_causal";
constexpr const char* kCausalAndMore = "_causal_and_more";

std::shared_ptr<Graph> graph_of(const ClassTypePtr& type, const std::string& method) {
  auto* function = function_with_graph(type->findMethod(method));
  return function ? function->graph() : nullptr;
}

std::vector<Node*> method_calls(Graph& graph) {
  std::vector<Node*> calls;
  for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == c10::prim::CallMethod && node->input(0)->type()->cast<c10::ClassType>()) calls.push_back(node);
  });
  return calls;
}

ClassTypePtr callee_type(const Node* call) { return call->input(0)->type()->expect<c10::ClassType>(); }

bool is_call_of(const Node* call, const ClassTypePtr& type, const std::string& method) {
  return callee_type(call) == type && call->s(c10::attr::name) == method;
}

void redirect_calls(Graph& graph, const SpecialisedMethod& from, const std::string& to) {
  for (Node* call : method_calls(graph)) {
    if (is_call_of(call, from.type, from.name)) call->s_(c10::attr::name, to);
  }
}

// Makes the specialised methods, and has the calls that may go to them.
class Specialiser {
public:
  explicit Specialiser(const ModuleIndex& index) : mutable_attributes_(index.mutable_attributes()) {
    for (const auto& instances : index.instances_by_type()) {
      // A mask may be made of an instance's own buffers.
      if (instances.size() == 1) redirect_calls_of(instances.front().module);
    }
  }

  SpecialisedMethods take() { return std::move(made_methods_); }

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
    const GraphFacts facts(module, &mutable_attributes_);
    std::map<Value*, std::optional<AssumedMask>> known;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      for (std::size_t input = 1; input < calls[i]->inputs().size(); ++input) {
        Value* argument = copies.at(i)->input(input);
        if (!is_tensor(argument) || argument->node()->kind() == c10::prim::Param) continue;
        const auto [place, is_new] = known.try_emplace(argument);
        if (is_new) place->second = survey::read_built_mask(argument, facts);
        if (place->second && redirect(calls[i], input, *place->second)) break;
      }
    }
  }

  bool redirect(Node* call, std::size_t input, AssumedMask mask) {
    const auto specialised = method_for(callee_type(call), call->s(c10::attr::name), input, mask);
    if (specialised) call->s_(c10::attr::name, *specialised);
    return specialised.has_value();
  }

  // The copy of a method to which the mask may matter; nothing where it is of no use.
  std::optional<std::string> method_for(const ClassTypePtr& type, const std::string& method, std::size_t input,
                                        AssumedMask mask) {
    const auto key = std::make_tuple(type.get(), method, input, mask.lowest, mask.is_causal);
    const auto [place, is_new] = made_.try_emplace(key);
    if (is_new) {
      auto name = make_method(type, method, input, mask);
      made_[key] = std::move(name);
    }
    return made_.at(key);
  }

  std::optional<std::string> make_method(const ClassTypePtr& type, const std::string& method, std::size_t input,
                                         AssumedMask mask) {
    const std::shared_ptr<Graph> original = graph_of(type, method);
    const bool has_hooks = !type->getForwardHooks().empty() || !type->getForwardPreHooks().empty();
    if (!original || has_hooks || !is_tensor(original->inputs().at(input))) return std::nullopt;
    const std::shared_ptr<Graph> graph = original->copy();
    Value* assumed = graph->inputs()[input];
    bool is_of_use = survey::has_attention_candidate(graph->block());
    for (Node* call : method_calls(*graph)) {
      for (std::size_t i = 1; i < call->inputs().size(); ++i) {
        if (call->input(i) == assumed && redirect(call, i, mask)) is_of_use = true;
      }
    }
    if (!is_of_use) return std::nullopt;
    const SpecialisedMethod specialised{type, method,
                                        free_name(*type, method + (mask.is_causal ? kCausal : kCausalAndMore))};
    auto* function =
        type->compilation_unit()->create_function(c10::QualifiedName(*type->name(), specialised.name), graph);
    function->setSchema(type->getMethod(method).getSchema());
    type->addMethod(function);
    made_methods_.masks[{type.get(), specialised.name}][input] = mask;
    made_methods_.methods.push_back(specialised);
    return specialised.name;
  }

  static std::string free_name(const c10::ClassType& type, std::string name) {
    while (type.findMethod(name) || type.hasAttribute(name) || type.hasConstant(name)) name += "_";
    return name;
  }

  const MutableAttributes& mutable_attributes_;
  SpecialisedMethods made_methods_;
  std::map<std::tuple<const c10::ClassType*, std::string, std::size_t, double, bool>, std::optional<std::string>> made_;
};

// Whether the specialised method's own attention is fused where the method's is not, or as causal where that has a
// bias.
bool has_better_attention(const SpecialisedMethod& specialised, const Survey& survey) {
  const auto of_type = [&](const MethodSurvey& found, const std::string& method) {
    return found.module.type() == specialised.type && found.method == method;
  };
  for (const MethodSurvey& found : survey.methods) {
    if (!of_type(found, specialised.name)) continue;
    const auto original = std::find_if(survey.methods.begin(), survey.methods.end(), [&](const MethodSurvey& other) {
      return of_type(other, specialised.method) && other.module == found.module;
    });
    for (std::size_t i = 0; i < found.sites.size(); ++i) {
      const survey::Site& site = found.sites[i];
      if (!site.is_fusible) continue;
      if (original == survey.methods.end() || i >= original->sites.size()) return true;
      const survey::Site& before = original->sites[i];
      if (!before.is_fusible || (site.is_causal && !before.is_causal)) return true;
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

using Methods = std::set<MethodKey>;

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

bool calls_one_of(const SpecialisedMethod& specialised, const std::vector<SpecialisedMethod>& methods) {
  const std::vector<Node*> calls = method_calls(*graph_of(specialised.type, specialised.name));
  return std::any_of(calls.begin(), calls.end(), [&](const Node* call) {
    return std::any_of(methods.begin(), methods.end(),
                       [&](const SpecialisedMethod& other) { return is_call_of(call, other.type, other.name); });
  });
}

void take_back(const Module& root, const SpecialisedMethod& specialised, Survey& survey) {
  for_each_method_graph(root, [&](Graph& graph) { redirect_calls(graph, specialised, specialised.method); });
  auto& methods = survey.methods;
  methods.erase(std::remove_if(methods.begin(), methods.end(),
                               [&](const MethodSurvey& found) {
                                 return found.module.type() == specialised.type && found.method == specialised.name;
                               }),
                methods.end());
  for (MethodSurvey& found : methods) redirect_calls(*found.graph, specialised, specialised.method);
  specialised.type->unsafeRemoveMethod(specialised.name);
  specialised.type->compilation_unit()->unsafeRemoveMethod(
      c10::QualifiedName(*specialised.type->name(), specialised.name));
}

// Methods that only callers from outside run, since a specialised copy of theirs is called; also one that the file came
// with.
void mark_replaced_methods(const Module& root, Survey& survey) {
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

SpecialisedMethods specialise_methods(const ModuleIndex& index) {
  const survey::OneThread one_thread;
  return Specialiser(index).take();
}

void keep_useful_methods(const Module& root, const SpecialisedMethods& specialised, Survey& survey) {
  std::vector<SpecialisedMethod> kept;
  for (const SpecialisedMethod& method : specialised.methods) {
    if (has_better_attention(method, survey) || calls_one_of(method, kept)) {
      kept.push_back(method);
      for (MethodSurvey& found : survey.methods) {
        if (found.module.type() == method.type && found.method == method.name) found.specialises = method.method;
      }
    } else {
      take_back(root, method, survey);
    }
  }
  mark_replaced_methods(root, survey);
}

}  // namespace flashconvert::rewrite
