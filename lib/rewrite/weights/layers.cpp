// Where layers take their weights.
#include "rewrite/weights/layers.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace flashconvert::rewrite::weights {
namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

struct LayerOperator {
  std::vector<size_t> weights;
  bool is_product;  // its operands are weights only where the other one is not
};

const LayerOperator* layer_operator(const Node* node) {
  static const std::unordered_map<std::string, LayerOperator> kOperators = {
      {"aten::linear", {{1}, false}},
      {"aten::conv1d", {{1}, false}},
      {"aten::conv2d", {{1}, false}},
      {"aten::conv3d", {{1}, false}},
      {"aten::_convolution", {{1}, false}},
      {"aten::convolution", {{1}, false}},
      {"aten::conv_transpose1d", {{1}, false}},
      {"aten::conv_transpose2d", {{1}, false}},
      {"aten::conv_transpose3d", {{1}, false}},
      {"aten::embedding", {{0}, false}},
      {"aten::bilinear", {{2}, false}},
      {"aten::matmul", {{0, 1}, true}},
      {"aten::mm", {{0, 1}, true}},
      {"aten::bmm", {{0, 1}, true}},
      {"aten::addmm", {{1, 2}, true}},
      {"aten::baddbmm", {{1, 2}, true}},
      {"aten::_native_multi_head_attention", {{5, 7}, false}},
      {"aten::_transformer_encoder_layer_fwd", {{3, 5, 14, 16}, false}}};
  const auto found = kOperators.find(node->kind().toQualString());
  return found == kOperators.end() ? nullptr : &found->second;
}

Value* skip_neutral(Value* value) {
  while (is_neutral(value->node()) && value->node()->blocks().empty() && !value->node()->inputs().empty() &&
         value->node()->kind() != c10::prim::GetAttr) {
    value = value->node()->input(0);
  }
  return value;
}

// An attribute that nothing writes, a constant, or a graph input, as it is or viewed.
bool is_plain(Value* value, const std::set<Cell>& written) {
  value = skip_neutral(value);
  const Node* node = value->node();
  if (node->kind() == c10::prim::Constant || node->kind() == c10::prim::Param) return true;
  if (node->kind() != c10::prim::GetAttr) return false;
  const auto cell = type_cell(node);
  return cell && written.count(*cell) == 0;
}

bool leads_to_attribute(Value* value, int depth) {
  static const std::unordered_set<std::string> kElementwise = {
      "aten::mul",  "aten::div",  "aten::add",   "aten::sub",         "aten::mul_", "aten::div_",
      "aten::add_", "aten::sub_", "aten::where", "aten::masked_fill", "aten::lerp", "aten::addcmul"};
  if (depth > 32) return false;
  Node* node = value->node();
  if (node->kind() == c10::prim::GetAttr) return value->type()->kind() == c10::TypeKind::TensorType;
  if (node->kind() == c10::prim::CallMethod || node->kind() == c10::prim::CallFunction) {
    const auto* function = called_function(node);
    return function != nullptr && leads_to_attribute(function->graph()->outputs().at(0), depth + 1);
  }
  if (!is_neutral(node) && kElementwise.count(node->kind().toQualString()) == 0) return false;
  return std::any_of(node->inputs().begin(), node->inputs().end(),
                     [&](Value* input) { return leads_to_attribute(input, depth + 1); });
}

}  // namespace

bool modulates_attribute(Value* value) { return leads_to_attribute(value, 0); }

std::vector<WeightUse> weight_uses(Graph& graph, const std::set<Cell>& written) {
  std::vector<WeightUse> uses;
  InputDependence dependence;
  const auto add = [&](const Operand& operand, WeightUse use) {
    for (WeightUse& known : uses) {
      if (known.value != operand.value()) continue;
      known.operands.push_back(operand);
      return;
    }
    use.value = operand.value();
    use.operands = {operand};
    uses.push_back(std::move(use));
  };
  for_each_node(graph.block(), [&](Node* node) {
    const LayerOperator* layer = layer_operator(node);
    if (layer == nullptr) return;
    for (const size_t index : layer->weights) {
      const Operand operand{node, index};
      Value* value = operand.value();
      WeightUse use;
      use.of_product = layer->is_product;
      if (!layer->is_product && value->node() == graph.param_node()) {
        use.is_argument = true;
        add(operand, use);
        continue;
      }
      if (is_plain(value, written)) continue;
      use.depends_on_input = dependence.depends(value);
      if (layer->is_product) {
        const size_t other = layer->weights[0] == index ? layer->weights[1] : layer->weights[0];
        if (use.depends_on_input || !dependence.depends(node->input(other))) continue;
      } else if (use.depends_on_input && !modulates_attribute(value)) {
        continue;
      }
      add(operand, use);
    }
  });
  return uses;
}

std::optional<Operand> bias_of(const Operand& weight) {
  const std::string kind = weight.node->kind().toQualString();
  if (kind == "aten::addmm" || kind == "aten::baddbmm") return Operand{weight.node, 0};
  if (kind == "aten::linear" || kind.find("conv") != std::string::npos) return Operand{weight.node, 2};
  if (kind == "aten::bilinear") return Operand{weight.node, 3};
  return std::nullopt;
}

bool has_other_layers(Graph& graph, const std::set<Operand>& operands, const std::function<bool(const Node*)>& counts) {
  bool other = false;
  for_each_node(graph.block(), [&](Node* node) {
    const LayerOperator* layer = layer_operator(node);
    if (layer == nullptr || !counts(node)) return;
    const auto taken = std::count_if(layer->weights.begin(), layer->weights.end(), [&](size_t index) {
      return operands.count({node, index}) != 0;
    });
    const auto wanted = layer->is_product ? 1 : static_cast<std::ptrdiff_t>(layer->weights.size());
    other |= taken < wanted;
  });
  return other;
}

}  // namespace flashconvert::rewrite::weights
