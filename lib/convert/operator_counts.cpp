// Operator counts (operator_counts.h).
#include "convert/operator_counts.h"

#include <torch/csrc/jit/ir/ir.h>

#include <array>

#include "graph/function_with_graph.h"

namespace flashconvert {

namespace {

void count_block(const torch::jit::Block* block, std::map<std::string, std::int64_t>& counts) {
  for (const torch::jit::Node* node : block->nodes()) {
    for (const torch::jit::Block* inner : node->blocks()) count_block(inner, counts);
    if (!node->kind().is_prim()) ++counts[node->kind().toQualString()];
    if (node->kind() != c10::prim::CallFunction) continue;
    const auto type = node->input(0)->type()->cast<c10::FunctionType>();
    auto* function = type ? function_with_graph(type->function()) : nullptr;
    if (function) count_block(function->graph()->block(), counts);
  }
}

}  // namespace

std::map<std::string, std::int64_t> count_operators(const torch::jit::Module& root) {
  std::map<std::string, std::int64_t> counts;
  for (const torch::jit::Module& module : root.modules()) {
    for (const auto& method : module.get_methods()) {
      if (auto* function = function_with_graph(&method.function())) count_block(function->graph()->block(), counts);
    }
  }
  return counts;
}

std::vector<std::string> custom_operators(const std::map<std::string, std::int64_t>& counts) {
  constexpr std::array<const char*, 6> kOfTorch{
      "aten::", "prim::", "prims::", "quantized::", "torch::", "_quantized::"};
  std::vector<std::string> custom;
  for (const auto& [name, count] : counts) {
    bool of_torch = false;
    for (const char* prefix : kOfTorch) of_torch = of_torch || name.rfind(prefix, 0) == 0;
    if (!of_torch) custom.push_back(name);
  }
  return custom;
}

}  // namespace flashconvert
