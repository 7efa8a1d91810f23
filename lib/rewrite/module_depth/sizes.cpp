// Symbolic sizes: integers of a graph as a number times dimensions of tensors.
#include "rewrite/module_depth/sizes.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>

namespace flashconvert::rewrite {
namespace {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;
namespace prim = c10::prim;

bool is_named(const Node* node, const char* name) { return node->kind() == c10::Symbol::fromQualString(name); }

// Int ↔ tensor conversions do not change the number.
bool is_number_conversion(const Node* node) {
  return node->kind() == prim::NumToTensor || is_named(node, "aten::Int") || is_named(node, "aten::ScalarImplicit") ||
         is_named(node, "aten::IntImplicit") || is_named(node, "aten::detach");
}

bool is_whole_division(const Node* node) {
  if (is_named(node, "aten::floordiv") || is_named(node, "aten::floor_divide")) return true;
  if (node->kind() != aten::div || node->inputs().size() != 3) return false;
  const auto mode = torch::jit::toIValue(node->input(2));
  return mode && mode->isString();  // "trunc" or "floor": sizes are not negative
}

std::optional<SizeProduct> number_behind(const c10::IValue& constant) {
  if (constant.isInt()) return SizeProduct{constant.toInt(), {}};
  if (!constant.isTensor()) return std::nullopt;
  const at::Tensor& tensor = constant.toTensor();
  if (!tensor.defined() || tensor.numel() != 1 || !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false)) {
    return std::nullopt;
  }
  return SizeProduct{tensor.item<std::int64_t>(), {}};
}

// An element of `tensor.size()`, by unpacking or by indexing.
std::optional<SizeProduct> element_of_shape(Value* value, const SizeOfDim& size_of_dim) {
  Node* node = value->node();
  Node* shape = node->input(0)->node();
  if (shape->kind() != aten::size || shape->inputs().size() != 1) return std::nullopt;
  if (node->kind() == prim::ListUnpack) {
    return size_of_dim(shape->input(0), static_cast<std::int64_t>(value->offset()));
  }
  const auto index = constant_int(node->input(1));
  return index ? size_of_dim(shape->input(0), *index) : std::nullopt;
}

}  // namespace

SizeProduct product_of(const SizeProduct& a, const SizeProduct& b) {
  SizeProduct result = a;
  result.coefficient *= b.coefficient;
  result.symbols.insert(result.symbols.end(), b.symbols.begin(), b.symbols.end());
  return result;
}

std::optional<SizeProduct> exact_quotient(const SizeProduct& a, const SizeProduct& b) {
  if (b.coefficient == 0 || a.coefficient % b.coefficient != 0) return std::nullopt;
  SizeProduct result = a;
  result.coefficient /= b.coefficient;
  for (const SizeSymbol& symbol : b.symbols) {
    const auto found = std::find(result.symbols.begin(), result.symbols.end(), symbol);
    if (found == result.symbols.end()) return std::nullopt;
    result.symbols.erase(found);
  }
  return result;
}

std::optional<std::int64_t> constant_int(Value* value) {
  const auto constant = torch::jit::toIValue(value);
  if (!constant) return std::nullopt;
  const auto number = number_behind(*constant);
  return number ? std::optional(number->coefficient) : std::nullopt;
}

std::optional<SizeProduct> size_product(Value* value, const SizeOfDim& size_of_dim) {
  if (const auto constant = torch::jit::toIValue(value)) return number_behind(*constant);
  Node* node = value->node();
  if (is_number_conversion(node)) return size_product(node->input(0), size_of_dim);
  if (node->kind() == aten::size && node->inputs().size() == 2) {
    const auto dim = constant_int(node->input(1));
    return dim ? size_of_dim(node->input(0), *dim) : std::nullopt;
  }
  if (node->kind() == prim::ListUnpack || node->kind() == aten::__getitem__) {
    return element_of_shape(value, size_of_dim);
  }
  if (node->kind() != aten::mul && !is_whole_division(node)) return std::nullopt;
  const auto left = size_product(node->input(0), size_of_dim);
  const auto right = size_product(node->input(1), size_of_dim);
  if (!left || !right) return std::nullopt;
  return node->kind() == aten::mul ? product_of(*left, *right) : exact_quotient(*left, *right);
}

std::optional<std::vector<IntListItem>> int_list_items(Value* list) {
  std::vector<IntListItem> items;
  if (list->node()->kind() == prim::ListConstruct) {
    for (Value* value : list->node()->inputs()) items.push_back({value, 0});
    return items;
  }
  const auto constant = torch::jit::toIValue(list);
  if (!constant || !constant->isIntList()) return std::nullopt;
  for (const std::int64_t item : constant->toIntVector()) items.push_back({nullptr, item});
  return items;
}

}  // namespace flashconvert::rewrite
