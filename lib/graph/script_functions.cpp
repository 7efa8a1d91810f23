// TorchScript functions of replacements (script_functions.h).
#include "graph/script_functions.h"

#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/schema_matching.h>

namespace flashconvert {

namespace {

c10::QualifiedName namespace_of_functions() { return c10::QualifiedName("__torch__.flashconvert"); }

torch::jit::Function* defined(torch::jit::CompilationUnit& unit, const ScriptFunction& function) {
  const c10::QualifiedName prefix = namespace_of_functions();
  const c10::QualifiedName name(prefix, function.name);
  if (auto* known = unit.find_function(name)) return known;
  unit.define(prefix, function.source, torch::jit::nativeResolver(), nullptr);
  return unit.find_function(name);
}

// The name of the function that a node calls; empty for other nodes.
c10::QualifiedName name_of_called(const torch::jit::Node* node) {
  if (node->kind() != c10::prim::CallFunction) return {};
  const auto type = node->input(0)->type()->cast<c10::FunctionType>();
  return type ? type->function()->qualname() : c10::QualifiedName();
}

bool is_call_of_ours(const torch::jit::Node* node) { return namespace_of_functions().isPrefixOf(name_of_called(node)); }

}  // namespace

bool is_call_of(const torch::jit::Node* node, const ScriptFunction& function) {
  return name_of_called(node) == c10::QualifiedName(namespace_of_functions(), function.name);
}

torch::jit::Function* find_script_function(torch::jit::CompilationUnit& unit, const std::string& name) {
  return unit.find_function(c10::QualifiedName(namespace_of_functions(), name));
}

void remove_unused_calls(torch::jit::Block* block) {
  auto nodes = block->nodes().reverse();  // users first
  for (auto it = nodes.begin(); it != nodes.end();) {
    torch::jit::Node* node = *it++;
    for (torch::jit::Block* inner : node->blocks()) remove_unused_calls(inner);
    if (is_call_of_ours(node) && !node->hasUses()) node->destroy();
  }
}

torch::jit::Value* call_function(torch::jit::Graph& graph, torch::jit::CompilationUnit& unit,
                                 const ScriptFunction& function, const std::vector<torch::jit::NamedValue>& arguments) {
  torch::jit::Function* callee = defined(unit, function);
  return graph.insertFunctionCall(
      callee, torch::jit::matchSchema(callee->getSchema(), torch::jit::SourceRange(), graph, arguments, /*kwargs=*/{}));
}

}  // namespace flashconvert
