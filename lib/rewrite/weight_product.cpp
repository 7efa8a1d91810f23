// See weight_product.h.
#include "rewrite/weight_product.h"

#include <torch/csrc/jit/ir/constants.h>

namespace flashconvert::rewrite {
namespace {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

bool is_one(Value* value) {
  const auto constant = torch::jit::toIValue(value);
  return constant && constant->isScalar() && constant->toScalar().toDouble() == 1.0;
}

}  // namespace

std::optional<WeightProduct> weight_product_of(Node* node) {
  if (node->kind() == aten::linear) {
    Value* bias = node->input(2)->mustBeNone() ? nullptr : node->input(2);
    return WeightProduct{node->input(0), node->input(1), bias, true, {node}};
  }
  if (node->kind() == aten::matmul) return WeightProduct{node->input(0), node->input(1), nullptr, false, {node}};
  if (node->kind() == aten::addmm && is_one(node->input(3)) && is_one(node->input(4))) {
    return WeightProduct{node->input(1), node->input(2), node->input(0), false, {node}};
  }
  return std::nullopt;
}

std::optional<WeightProduct> weight_product_of(Value* output) {
  Node* node = output->node();
  if (const auto product = weight_product_of(node)) return product;
  if (node->kind() != aten::add || node->inputs().size() != 3 || !is_one(node->input(2))) return std::nullopt;
  for (const std::size_t side : {0U, 1U}) {
    Node* inner = node->input(side)->node();
    if (inner->kind() != aten::matmul || inner->output()->uses().size() != 1) continue;
    return WeightProduct{inner->input(0), inner->input(1), node->input(1 - side), false, {inner, node}};
  }
  return std::nullopt;
}

}  // namespace flashconvert::rewrite
