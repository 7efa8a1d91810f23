// Making working copies of methods the methods of their types.
#include "rewrite/install.h"

#include <map>
#include <string>
#include <utility>

#include "graph/method_graph.h"
#include "rewrite/separate_instances.h"

namespace flashconvert::rewrite {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

// Whether one of the modules below self is in training mode.
Value* insert_is_training(Graph& graph, const std::vector<survey::ModulePath>& modules) {
  Value* any = nullptr;
  for (const survey::ModulePath& path : modules) {
    Value* module = graph.inputs()[0];
    for (const std::string& name : path) module = graph.insertGetAttr(module, name);
    Value* flag = graph.insertGetAttr(module, "training");
    any = any == nullptr ? flag : graph.insert(c10::aten::__or__, {any, flag});
  }
  return any;
}

// if self.training: what the method was, else: what it is in eval mode.
std::shared_ptr<Graph> with_training_mode(const survey::MethodSurvey& method, Graph& before) {
  auto graph = std::make_shared<Graph>();
  for (const Value* input : method.graph->inputs()) graph->addInput()->copyMetadata(const_cast<Value*>(input));
  const torch::jit::WithInsertPoint here(graph->block());
  Value* is_training = insert_is_training(*graph, method.training_matters);
  Node* branch = graph->insertNode(graph->create(torch::jit::prim::If, {is_training}, 1));
  for (Graph* source : {&before, method.graph.get()}) {
    torch::jit::Block* arm = branch->addBlock();
    const torch::jit::WithInsertPoint in_arm(arm);
    arm->registerOutput(torch::jit::insertGraph(*graph, *source, graph->inputs()).at(0));
  }
  branch->output()->setType(before.outputs().at(0)->type());
  graph->registerOutput(branch->output());
  return graph;
}

}  // namespace

std::vector<MethodOfType> methods_to_install(survey::Survey& survey) {
  std::vector<MethodOfType> methods;
  std::map<std::pair<const c10::ClassType*, std::string>, std::size_t> index;
  for (survey::MethodSurvey& method : survey.methods) {
    if (!has_fused_site(method)) continue;
    const auto [place, is_new] = index.try_emplace({method.module.type().get(), method.method}, methods.size());
    if (is_new) methods.emplace_back();
    methods[place->second].push_back(&method);
  }
  return methods;
}

void install(const MethodOfType& method) {
  const survey::MethodSurvey& first = *method.front();
  std::shared_ptr<Graph> graph = first.graph;
  if (!first.training_matters.empty()) {
    graph = with_training_mode(first, *method_graph(first.module.type(), first.method));
  }
  replace_method_graph(first.module.type(), first.method, std::move(graph));
}

}  // namespace flashconvert::rewrite
