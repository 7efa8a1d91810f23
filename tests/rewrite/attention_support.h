// Modules with plain attention, and surveys of them made by hand: what the rewrite is given, without the survey stage.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sstream>
#include <string>
#include <vector>

#include "survey/survey.h"

namespace flashconvert::test {

using torch::jit::Module;

// A child named `name` with a forward of its own: torch.nn.Linear as a trace saves it.
inline Module linear_module(int64_t in_features, int64_t out_features, bool bias = true) {
  Module linear("__torch__.Linear", std::make_shared<torch::jit::CompilationUnit>());
  linear.register_parameter("weight", at::randn({out_features, in_features}) / std::sqrt(double(in_features)),
                            /*is_buffer=*/false);
  if (bias) linear.register_parameter("bias", at::randn({out_features}), false);
  linear.register_attribute("training", c10::BoolType::get(), false);
  linear.define(bias ? "def forward(self, input):\n  return torch.linear(input, self.weight, self.bias)\n"
                     : "def forward(self, input):\n  return torch.linear(input, self.weight)\n");
  return linear;
}

// Saved and loaded: everything in one compilation unit, as a converter meets it.
inline Module reloaded(const Module& module) {
  std::stringstream stream;
  module.save(stream);
  return torch::jit::load(stream);
}

inline Module empty_module(const std::string& name) {
  Module module("__torch__." + name, std::make_shared<torch::jit::CompilationUnit>());
  module.register_attribute("training", c10::BoolType::get(), false);
  return module;
}

inline at::Tensor run(Module& module, std::vector<c10::IValue> inputs, const std::string& method = "forward") {
  at::NoGradGuard no_grad;
  return module.get_method(method)(std::move(inputs)).toTensor();
}

inline std::string code_graph(const Module& module, const std::string& method = "forward") {
  return module.get_method(method).graph()->toString(false);
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The first node of a kind in a graph's outermost block; null when there is none.
inline torch::jit::Node* find_node(torch::jit::Graph& graph, const std::string& kind, std::size_t occurrence = 0) {
  for (torch::jit::Node* node : graph.nodes()) {
    if (node->kind().toQualString() != kind) continue;
    if (occurrence-- == 0) return node;
  }
  return nullptr;
}

// The site of `matmul(softmax(matmul(q, kᵀ) * scale [+ bias]), v)`, and its fused form through either operator.
inline survey::Site propose_softmax_site(torch::jit::Graph& graph, double scale, survey::Backend backend,
                                         std::size_t occurrence = 0) {
  using torch::jit::Node;
  using torch::jit::Value;
  Node* softmax = find_node(graph, "aten::softmax", occurrence);
  Node* weighted_sum = softmax->output()->uses().at(0).user;
  Node* scores = softmax->input(0)->node();
  Value* bias = nullptr;
  if (scores->kind() == c10::aten::add) {
    bias = scores->input(1);
    scores = scores->input(0)->node();
  }
  Node* product = scores->input(0)->node();  // below the multiplication by the scale
  Value* key = product->input(1)->node()->input(0);
  torch::jit::WithInsertPoint guard(weighted_sum);
  if (bias == nullptr) bias = graph.insertConstant(c10::IValue());
  survey::Proposal proposal;
  proposal.original = weighted_sum->output();
  if (backend == survey::Backend::kFlash) {
    Node* node = graph.insertNode(
        graph.create(c10::Symbol::fromQualString(survey::kAttentionOperator),
                     {product->input(0), key, weighted_sum->input(1), bias, graph.insertConstant(scale),
                      graph.insertConstant(false), graph.insertConstant(std::vector<int64_t>{-1, -1}),
                      graph.insertConstant(0.0), graph.insertConstant(false), graph.insertConstant(false)}));
    node->output()->setType(c10::TensorType::get());
    proposal.replacement = node->output();
  } else {
    proposal.replacement = graph.insert(c10::Symbol::fromQualString("aten::scaled_dot_product_attention"),
                                        {product->input(0), key, weighted_sum->input(1), bias, 0.0, false},
                                        {torch::jit::NamedValue("scale", graph.insertConstant(scale))});
  }
  proposal.attention = {proposal.replacement->node()};
  survey::Site site;
  site.is_fusible = true;
  site.scale = scale;
  site.proposals = {proposal};
  return site;
}

inline survey::MethodSurvey survey_method(const Module& module, const std::string& path, double scale,
                                          survey::Backend backend, const std::string& method = "forward",
                                          std::size_t sites = 1) {
  survey::MethodSurvey result{path, module, method, module.get_method(method).graph()->copy(), {}};
  for (std::size_t i = 0; i < sites; ++i) {
    result.sites.push_back(propose_softmax_site(*result.graph, scale, backend, i));
    result.sites.back().path = path;
  }
  return result;
}

}  // namespace flashconvert::test
