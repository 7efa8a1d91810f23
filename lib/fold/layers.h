// Where layers take their weights: the operands of linear, convolution and product operators.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <set>
#include <string>
#include <vector>

#include "graph/attributes.h"

namespace flashconvert::fold {

// One operand of one operator.
struct Operand {
  torch::jit::Node* node = nullptr;
  size_t index = 0;
  torch::jit::Value* value() const { return node->input(index); }
  bool operator<(const Operand& other) const { return std::tie(node, index) < std::tie(other.node, other.index); }
};

// A value that one or more operators of a method take as their weight.
struct WeightUse {
  torch::jit::Value* value = nullptr;
  std::vector<Operand> operands;
  bool is_argument = false;       // the method's caller passes it in: hooks traced before the layer's forward
  bool depends_on_input = false;  // a parameter changed by an input: cannot be folded, but has to be named
  bool of_product = false;        // matmul and its like, which also multiply what are no weights
};

// The values of a method's graph that may be reparameterised weights, in program order. Plain ones (an attribute or
// constant, at most viewed, transposed or cast) are left out, unless some code of the model writes the attribute.
std::vector<WeightUse> weight_uses(torch::jit::Graph& graph, const std::set<Cell>& written);

// Whether the operator hands on a tensor's values unchanged, in another shape, order, type or memory, or asks only for
// sizes: a weight that went through these alone is not reparameterised.
bool hands_values_on(const torch::jit::Node* node);

// Whether element-wise arithmetic, with whatever else, leads from an attribute to the value: a weight that an input
// modulates, and not just an activation that a function was given as its weight.
bool modulates_attribute(torch::jit::Value* value);

// The operand that holds the bias beside this weight.
std::optional<Operand> bias_of(const Operand& weight);

// Whether one of the weight-bearing operators of the method for which `counts` holds takes other values than these.
bool has_other_layers(torch::jit::Graph& graph, const std::set<Operand>& operands,
                      const std::function<bool(const torch::jit::Node*)>& counts);

}  // namespace flashconvert::fold
