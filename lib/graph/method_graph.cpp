// Replacing the graph of a method.
#include "graph/method_graph.h"

#include <functional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graph/function_with_graph.h"
#include "graph/module_tree.h"

namespace flashconvert {
namespace {

using torch::jit::Function;
using torch::jit::Graph;
using torch::jit::GraphFunction;

// A property's accessors are methods that the type also points to directly; they have no setter, so these functions
// stay and only their graph's contents can be exchanged.
std::unordered_set<const Function*> property_accessors(const c10::ClassType& type) {
  std::unordered_set<const Function*> accessors;
  for (const auto& property : type.properties()) {
    accessors.insert(property.getter);
    if (property.setter != nullptr) accessors.insert(property.setter);
  }
  return accessors;
}

void exchange_contents(Graph& target, Graph& source) {
  torch::jit::Block* block = target.block();
  while (!block->outputs().empty()) block->eraseOutput(0);
  block->clear();
  while (!block->inputs().empty()) block->eraseInput(block->inputs().size() - 1);
  block->cloneFrom(source.block(), nullptr);
}

// Creates every method of `type` anew, in order; `graph_of` says which graph each one gets.
void recreate_methods(const c10::ClassTypePtr& type,
                      const std::function<std::shared_ptr<Graph>(GraphFunction&)>& graph_of) {
  const auto unit = type->compilation_unit();
  const auto accessors = property_accessors(*type);
  const std::vector<Function*> methods = type->methods();  // a copy: the list changes below
  for (Function* method : methods) {
    GraphFunction* function = function_with_graph(method);
    if (function == nullptr) continue;
    std::shared_ptr<Graph> graph = graph_of(*function);
    if (accessors.count(method) != 0) {
      if (graph != function->graph()) exchange_contents(*function->graph(), *graph);
      function->clear_optimized_graphs();
      continue;
    }
    const c10::QualifiedName name = function->qualname();
    c10::FunctionSchema schema = function->getSchema();
    type->unsafeRemoveMethod(name.name());
    unit->unsafeRemoveMethod(name);
    Function* fresh = unit->create_function(name, std::move(graph));
    fresh->setSchema(std::move(schema));
    type->addMethod(fresh);
  }
}

}  // namespace

std::shared_ptr<Graph> method_graph(const c10::ClassTypePtr& type, const std::string& method) {
  auto& function = torch::jit::toGraphFunction(type->getMethod(method));
  function.ensure_defined();
  return function.graph();
}

void replace_method_graph(const c10::ClassTypePtr& type, const std::string& method, std::shared_ptr<Graph> graph) {
  recreate_methods(type, [&](GraphFunction& function) -> std::shared_ptr<Graph> {
    return function.name() == method ? graph : function.graph();
  });
}

void drop_compiled_code(const torch::jit::Module& root) {
  for (const c10::ClassTypePtr& type : module_types(root)) {
    recreate_methods(type, [](GraphFunction& function) { return function.graph(); });
  }
}

}  // namespace flashconvert
