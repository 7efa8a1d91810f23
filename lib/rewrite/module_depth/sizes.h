// Symbolic sizes: integers of a graph as a number times dimensions of tensors. Traces spell them as chains
// (size, NumToTensor, mul, floor_divide, Int), scripts as arithmetic on ints.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace flashconvert::rewrite {

// Dimension `dim` (non-negative) of the tensor `tensor`.
struct SizeSymbol {
  torch::jit::Value* tensor = nullptr;
  std::int64_t dim = 0;

  bool operator==(const SizeSymbol& other) const { return tensor == other.tensor && dim == other.dim; }
};

// coefficient · Π symbols
struct SizeProduct {
  std::int64_t coefficient = 1;
  std::vector<SizeSymbol> symbols;
};

SizeProduct product_of(const SizeProduct& a, const SizeProduct& b);

// a / b where that is exact whatever the symbols are.
std::optional<SizeProduct> exact_quotient(const SizeProduct& a, const SizeProduct& b);

// Gives the size of a dimension of a tensor value; nothing where it is unknown. `dim` may count from the end.
using SizeOfDim = std::function<std::optional<SizeProduct>(torch::jit::Value* tensor, std::int64_t dim)>;

// The value of an int (or of a number that travels as a tensor); nothing where it is no such product.
std::optional<SizeProduct> size_product(torch::jit::Value* value, const SizeOfDim& size_of_dim);

// The elements of a list of ints, each a value (list construct) or a constant.
struct IntListItem {
  torch::jit::Value* value = nullptr;  // null: `constant` holds
  std::int64_t constant = 0;
};
std::optional<std::vector<IntListItem>> int_list_items(torch::jit::Value* list);

// The constant behind a value.
std::optional<std::int64_t> constant_int(torch::jit::Value* value);

}  // namespace flashconvert::rewrite
