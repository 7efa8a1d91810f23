// What a view of a projection's output is, element by element: which of its dimensions run over which dimension of the
// input and over which features. Views, permutations, splits and selections are followed exactly; anything else is
// unknown. This is how the rewrite proves that a value is "heads 0…H-1 of D features each", whatever spells it.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graph/symbolic_size.h"

namespace flashconvert::rewrite {

// A part of a dimension: a dimension of a tensor as a whole (`symbol`), or `extent` features, `stride` apart.
struct Factor {
  std::optional<SizeSymbol> symbol;
  std::int64_t stride = 0;
  std::int64_t extent = 0;

  static Factor lead(SizeSymbol symbol) { return {symbol, 0, 0}; }
  static Factor features(std::int64_t stride, std::int64_t extent) { return {std::nullopt, stride, extent}; }
  bool operator==(const Factor& other) const {
    return symbol == other.symbol && stride == other.stride && extent == other.extent;
  }
};

// Factors from the outermost to the innermost; none for a dimension of size 1.
using DimFactors = std::vector<Factor>;

struct Layout {
  torch::jit::Value* source = nullptr;  // the value whose features are meant
  std::int64_t offset = 0;              // of the first feature
  std::vector<DimFactors> dims;
};

// Lays out the values of one graph. Sources are declared first (`declare`); the layout of every value that is reached
// from them through views follows.
class Layouts {
public:
  // `value` has this layout by definition.
  void declare(torch::jit::Value* value, Layout layout);

  // The layout of `value`, or nothing where it is no view of a source.
  std::optional<Layout> of(torch::jit::Value* value);

  // A dimension of a tensor as a product of symbols: of laid out values by their layout, else followed upwards through
  // operators that keep sizes to the symbol of the outermost tensor. `dim` counted from the end needs a laid out value
  // or one that `assume_rank` was told of.
  std::optional<SymbolicSize> size(torch::jit::Value* tensor, std::int64_t dim);

  // `tensor` has this many dimensions.
  void assume_rank(torch::jit::Value* tensor, std::int64_t rank);

  // The two sizes are taken to be equal from now on.
  void equate(const SizeSymbol& a, const SizeSymbol& b);

  // The value of an int, or of a number that travels as a tensor; nothing where it is no arithmetic on such sizes.
  std::optional<SymbolicSize> size_value(torch::jit::Value* value);

  // Set where a view left a dimension of the input open (-1): the input may then have had more dimensions than assumed.
  bool leaves_lead_open(torch::jit::Value* view) const;

private:
  std::optional<Layout> derive(torch::jit::Value* value);
  std::optional<Layout> permuted(torch::jit::Node* node);
  std::optional<Layout> reshaped(torch::jit::Node* node);
  std::optional<Layout> selected(torch::jit::Node* node, torch::jit::Value* value);
  std::optional<Layout> of_list_element(torch::jit::Value* list, std::int64_t index);
  SizeSymbol canonical(SizeSymbol symbol);

  std::unordered_map<torch::jit::Value*, Layout> known_;
  std::unordered_map<torch::jit::Value*, std::int64_t> ranks_;
  std::vector<std::pair<SizeSymbol, SizeSymbol>> equal_;
  std::unordered_set<torch::jit::Value*> open_;
};

// Joins neighbouring factors that are contiguous, and drops features of extent 1.
DimFactors simplified(const DimFactors& dimension);

// Cuts the factors of `dims` anew into dimensions of the given sizes, one of which may be open (nothing).
std::optional<std::vector<DimFactors>> recut(const std::vector<DimFactors>& dims,
                                             const std::vector<std::optional<SymbolicSize>>& sizes);

}  // namespace flashconvert::rewrite
