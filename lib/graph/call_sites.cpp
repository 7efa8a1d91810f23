// Where the code of a model calls the methods of its module instances.
#include "graph/call_sites.h"

#include "graph/attributes.h"
#include "graph/calls.h"
#include "graph/function_with_graph.h"
#include "graph/traversal.h"

namespace flashconvert {
using torch::jit::Module;
using torch::jit::Node;

CallSites::CallSites(const std::vector<Instance>& instances) {
  for (const Instance& instance : instances) {
    for (torch::jit::Function* method : instance.module.type()->methods()) {
      auto* function = function_with_graph(method);
      if (function == nullptr) continue;
      torch::jit::Graph* graph = function->graph().get();
      for_each_node(graph->block(), [&](Node* node) {
        if (node->kind() != c10::prim::CallMethod) return;
        const void* callee = object_behind(node->input(0), instance.module).get();
        const torch::jit::Function* target = called_function(node);
        if (callee != nullptr) {
          calls_[{callee, node->s(c10::attr::name)}].push_back({instance.module, graph, node});
        } else if (target != nullptr) {
          unresolved_.insert(target);
        }
        if (target == nullptr) unknown_.insert(node->s(c10::attr::name));
      });
    }
  }
}

const std::vector<CallSite>& CallSites::of(const Module& callee, const std::string& method) const {
  static const std::vector<CallSite> kNone;
  const auto found = calls_.find({callee._ivalue().get(), method});
  return found == calls_.end() ? kNone : found->second;
}

bool CallSites::are_all_known(const c10::ClassTypePtr& type, const std::string& method) const {
  return unknown_.count(method) == 0 && unresolved_.count(type->findMethod(method)) == 0;
}

}  // namespace flashconvert
