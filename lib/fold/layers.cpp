// Where layers take their weights.
#include "fold/layers.h"

#include <algorithm>

#include "graph/calls.h"
#include "graph/input_dependence.h"
#include "graph/operators.h"
#include "graph/traversal.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

Value* skip_views(Value* value) {
  while (hands_values_on(value->node()) && value->node()->blocks().empty() && !value->node()->inputs().empty() &&
         value->node()->kind() != c10::prim::GetAttr) {
    value = value->node()->input(0);
  }
  return value;
}

// An attribute that nothing writes, a constant, or a graph input, as it is or viewed.
bool is_plain(Value* value, const std::set<Cell>& written) {
  value = skip_views(value);
  const Node* node = value->node();
  if (node->kind() == c10::prim::Constant || node->kind() == c10::prim::Param) return true;
  if (node->kind() != c10::prim::GetAttr) return false;
  const auto cell = type_cell(node);
  return cell && written.count(*cell) == 0;
}

bool leads_to_attribute(Value* value, int depth) {
  if (depth > 32) return false;
  Node* node = value->node();
  if (node->kind() == c10::prim::GetAttr) return value->type()->kind() == c10::TypeKind::TensorType;
  if (is_call(node)) {
    const auto* callee = callee_graph(node);
    return callee != nullptr && leads_to_attribute(const_cast<Value*>(callee->outputs().at(0)), depth + 1);
  }
  const bool is_arithmetic = has_trait(node, kElementwise | kCasts) && !has_trait(node, kCompares);
  if (!hands_values_on(node) && !is_arithmetic) return false;
  return std::any_of(node->inputs().begin(), node->inputs().end(),
                     [&](Value* input) { return leads_to_attribute(input, depth + 1); });
}

}  // namespace

bool hands_values_on(const Node* node) {
  const bool is_structure =
      is_any_of(node, {"prim::Constant", "prim::GetAttr", "prim::ListConstruct", "prim::ListUnpack",
                       "prim::TupleConstruct", "prim::TupleUnpack", "prim::unchecked_cast", "prim::If", "prim::Enter",
                       "prim::Exit", "prim::CreateObject"});
  const bool is_handed_on = has_trait(node, kCopies | kDetaches | kCasts | kPermutes | kReshapes | kSelects | kDivides |
                                                kExpands | kDropsOut | kJoins | kAsks | kNumbers | kConverts);
  // Traces divide sizes as tensors.
  if (!is_structure && !is_handed_on && node->kind() != c10::aten::floor_divide) return false;
  const auto blocks = node->blocks();
  return std::all_of(blocks.begin(), blocks.end(), [](const torch::jit::Block* block) {
    return std::all_of(block->nodes().begin(), block->nodes().end(), hands_values_on);
  });
}

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
    const std::vector<size_t> weights = weight_operands(node);
    const bool is_product = weights.size() == 2 && has_trait(node, kProduct | kProjects);
    for (const size_t index : weights) {
      const Operand operand{node, index};
      Value* value = operand.value();
      WeightUse use;
      use.of_product = is_product;
      if (!is_product && value->node() == graph.param_node()) {
        use.is_argument = true;
        add(operand, use);
        continue;
      }
      if (is_plain(value, written)) continue;
      use.depends_on_input = dependence.depends(value);
      if (is_product) {
        const size_t other = weights[0] == index ? weights[1] : weights[0];
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
  const auto bias = bias_operand(weight.node);
  return bias ? std::optional(Operand{weight.node, *bias}) : std::nullopt;
}

bool has_other_layers(Graph& graph, const std::set<Operand>& operands, const std::function<bool(const Node*)>& counts) {
  bool other = false;
  for_each_node(graph.block(), [&](Node* node) {
    const std::vector<size_t> weights = weight_operands(node);
    if (weights.empty() || !counts(node)) return;
    const auto taken = std::count_if(weights.begin(), weights.end(), [&](size_t index) {
      return operands.count({node, index}) != 0;
    });
    const bool is_product = weights.size() == 2 && has_trait(node, kProduct | kProjects);
    const auto wanted = is_product ? 1 : static_cast<std::ptrdiff_t>(weights.size());
    other |= taken < wanted;
  });
  return other;
}

}  // namespace flashconvert::fold
