// Products with a weight, as graphs spell linear layers.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <vector>

namespace flashconvert::rewrite {

// Before anything is known of the operands.
struct WeightProduct {
  torch::jit::Value* input = nullptr;
  torch::jit::Value* weight = nullptr;
  torch::jit::Value* bias = nullptr;  // null: none
  bool weight_is_out_in = true;       // as torch.linear takes it; matrix products take [in, out]
  std::vector<torch::jit::Node*> nodes;
};

// Of one node: aten::linear, aten::matmul, or aten::addmm that adds both terms as they are.
std::optional<WeightProduct> weight_product_of(torch::jit::Node* node);

// Of a node, or of a matrix product and the sum that adds its bias.
std::optional<WeightProduct> weight_product_of(torch::jit::Value* output);

}  // namespace flashconvert::rewrite
