// What a view of a projection's output is, element by element.
#include "rewrite/outline/layout.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <string>
#include <utility>

#include "graph/operators.h"
#include "graph/views.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Node;
using torch::jit::Value;
using Term = SymbolicSize::Term;

std::optional<std::size_t> dim_index(Value* argument, std::size_t rank) {
  const auto dim = literal_int(argument);
  const auto count = static_cast<std::int64_t>(rank);
  if (!dim || *dim < -count || *dim >= count) return std::nullopt;
  return static_cast<std::size_t>(*dim < 0 ? *dim + count : *dim);
}

bool is_one(const Term& size) { return size.coefficient == 1 && size.symbols.empty(); }

bool take_symbol(const Factor& factor, Term& wanted) {
  const auto found = std::find(wanted.symbols.begin(), wanted.symbols.end(), *factor.symbol);
  if (found == wanted.symbols.end()) return false;
  wanted.symbols.erase(found);
  return true;
}

// Takes factors of the product `wanted` off the front.
std::optional<DimFactors> take_front(std::deque<Factor>& factors, Term wanted) {
  DimFactors taken;
  while (!is_one(wanted)) {
    if (factors.empty()) return std::nullopt;
    const Factor factor = factors.front();
    if (factor.symbol) {
      if (!take_symbol(factor, wanted)) return std::nullopt;
      taken.push_back(factor);
      factors.pop_front();
    } else if (wanted.coefficient % factor.extent == 0) {
      taken.push_back(factor);
      factors.pop_front();
      wanted.coefficient /= factor.extent;
    } else if (wanted.coefficient > 1 && factor.extent % wanted.coefficient == 0) {
      const std::int64_t rest = factor.extent / wanted.coefficient;
      taken.push_back(Factor::features(factor.stride * rest, wanted.coefficient));
      factors.front() = Factor::features(factor.stride, rest);
      wanted.coefficient = 1;
    } else {
      return std::nullopt;
    }
  }
  return taken;
}

// The same off the back.
std::optional<DimFactors> take_back(std::deque<Factor>& factors, Term wanted) {
  DimFactors taken;
  while (!is_one(wanted)) {
    if (factors.empty()) return std::nullopt;
    const Factor factor = factors.back();
    if (factor.symbol) {
      if (!take_symbol(factor, wanted)) return std::nullopt;
      taken.insert(taken.begin(), factor);
      factors.pop_back();
    } else if (wanted.coefficient % factor.extent == 0) {
      taken.insert(taken.begin(), factor);
      factors.pop_back();
      wanted.coefficient /= factor.extent;
    } else if (wanted.coefficient > 1 && factor.extent % wanted.coefficient == 0) {
      taken.insert(taken.begin(), Factor::features(factor.stride, wanted.coefficient));
      factors.back() = Factor::features(factor.stride * wanted.coefficient, factor.extent / wanted.coefficient);
      wanted.coefficient = 1;
    } else {
      return std::nullopt;
    }
  }
  return taken;
}

std::optional<std::vector<std::int64_t>> constant_ints(Value* list, Layouts& layouts) {
  const auto items = int_list_items(list);
  if (!items) return std::nullopt;
  std::vector<std::int64_t> result;
  for (const IntListItem& item : *items) {
    const auto size = item.value != nullptr ? layouts.size_value(item.value) : SymbolicSize(item.constant);
    const auto number = size ? size->constant() : std::nullopt;
    if (!number) return std::nullopt;
    result.push_back(*number);
  }
  return result;
}

// A stretch of a dimension that runs over features alone.
bool narrow(Layout& layout, std::size_t dim, std::int64_t start, std::int64_t length) {
  DimFactors& dimension = layout.dims[dim];
  if (dimension.empty()) return start == 0 && length == 1;
  if (dimension.size() != 1 || dimension[0].symbol) return false;
  Factor& factor = dimension[0];
  if (start < 0 || length < 1 || start + length > factor.extent) return false;
  layout.offset += start * factor.stride;
  factor.extent = length;
  dimension = simplified(dimension);
  return true;
}

std::optional<std::int64_t> feature_extent(const DimFactors& dimension) {
  if (dimension.empty()) return 1;
  if (dimension.size() != 1 || dimension[0].symbol) return std::nullopt;
  return dimension[0].extent;
}

}  // namespace

DimFactors simplified(const DimFactors& dimension) {
  DimFactors result;
  for (const Factor& factor : dimension) {
    if (!factor.symbol && factor.extent == 1) continue;
    Factor* outer = result.empty() ? nullptr : &result.back();
    if (outer != nullptr && !outer->symbol && !factor.symbol && outer->stride == factor.stride * factor.extent) {
      *outer = Factor::features(factor.stride, outer->extent * factor.extent);
    } else {
      result.push_back(factor);
    }
  }
  return result;
}

std::optional<std::vector<DimFactors>> recut(const std::vector<DimFactors>& dims,
                                             const std::vector<std::optional<SymbolicSize>>& sizes) {
  std::vector<std::optional<Term>> products;
  for (const auto& size : sizes) {
    products.push_back(size ? size->term() : std::nullopt);
    if (size && !products.back()) return std::nullopt;  // a sum is no product of factors
  }
  std::deque<Factor> factors;
  for (const DimFactors& dimension : dims) factors.insert(factors.end(), dimension.begin(), dimension.end());
  std::vector<DimFactors> result(sizes.size());
  std::size_t open = 0;
  for (; open < sizes.size() && sizes[open]; ++open) {
    auto taken = take_front(factors, *products[open]);
    if (!taken) return std::nullopt;
    result[open] = simplified(*taken);
  }
  if (open == sizes.size()) {
    // What is left may only be of size 1.
    const bool complete = simplified(DimFactors(factors.begin(), factors.end())).empty();
    return complete ? std::optional(std::move(result)) : std::nullopt;
  }
  for (std::size_t dim = sizes.size() - 1; dim > open; --dim) {
    if (!sizes[dim]) return std::nullopt;
    auto taken = take_back(factors, *products[dim]);
    if (!taken) return std::nullopt;
    result[dim] = simplified(*taken);
  }
  result[open] = simplified(DimFactors(factors.begin(), factors.end()));
  return result;
}

void Layouts::declare(Value* value, Layout layout) { known_[value] = std::move(layout); }

void Layouts::assume_rank(Value* tensor, std::int64_t rank) { ranks_[tensor] = rank; }

void Layouts::equate(const SizeSymbol& a, const SizeSymbol& b) {
  const SizeSymbol from = canonical(a);
  const SizeSymbol to = canonical(b);
  if (!(from == to)) equal_.emplace_back(from, to);
}

bool Layouts::leaves_lead_open(Value* view) const { return open_.count(view) != 0; }

std::optional<Layout> Layouts::of(Value* value) {
  const auto found = known_.find(value);
  if (found != known_.end()) return found->second;
  auto layout = derive(value);
  if (layout) known_[value] = *layout;  // what is unknown now may be known once more sources are declared
  return layout;
}

std::optional<Layout> Layouts::derive(Value* value) {
  Node* node = value->node();
  if (has_trait(node, kWrites)) return std::nullopt;
  if (has_trait(node, kCopies)) return of(node->input(0));
  if (has_trait(node, kPermutes)) return permuted(node);
  if (has_trait(node, kReshapes)) return reshaped(node);
  if (has_trait(node, kSelects) || is_list_access(node)) return selected(node, value);
  return std::nullopt;
}

std::optional<Layout> Layouts::permuted(Node* node) {
  auto layout = of(node->input(0));
  if (!layout) return std::nullopt;
  const std::vector<DimFactors> before = layout->dims;
  if (node->kind() == c10::aten::permute) {
    const auto order = constant_ints(node->input(1), *this);
    if (!order || order->size() != before.size()) return std::nullopt;
    for (std::size_t dim = 0; dim < before.size(); ++dim) {
      const std::int64_t from = (*order)[dim] < 0 ? (*order)[dim] + std::int64_t(before.size()) : (*order)[dim];
      layout->dims[dim] = before.at(static_cast<std::size_t>(from));
    }
    return layout;
  }
  if (node->kind() == c10::aten::movedim) {
    const auto from = dim_index(node->input(1), before.size());
    const auto to = dim_index(node->input(2), before.size());
    if (!from || !to) return std::nullopt;
    layout->dims.erase(layout->dims.begin() + std::ptrdiff_t(*from));
    layout->dims.insert(layout->dims.begin() + std::ptrdiff_t(*to), before[*from]);
    return layout;
  }
  const bool two_dims = node->inputs().size() == 1;  // t()
  if (two_dims && before.size() != 2) return std::nullopt;
  const auto first = two_dims ? std::optional<std::size_t>(0) : dim_index(node->input(1), before.size());
  const auto second = two_dims ? std::optional<std::size_t>(1) : dim_index(node->input(2), before.size());
  if (!first || !second) return std::nullopt;
  std::swap(layout->dims[*first], layout->dims[*second]);
  return layout;
}

std::optional<Layout> Layouts::reshaped(Node* node) {
  auto layout = of(node->input(0));
  if (!layout) return std::nullopt;
  const std::size_t rank = layout->dims.size();
  const std::string name = node->kind().toUnqualString();
  if (name == "flatten") {
    const auto first = dim_index(node->input(1), rank);
    const auto last = dim_index(node->input(2), rank);
    if (!first || !last || *first > *last) return std::nullopt;
    DimFactors joined;
    for (std::size_t dim = *first; dim <= *last; ++dim) {
      joined.insert(joined.end(), layout->dims[dim].begin(), layout->dims[dim].end());
    }
    layout->dims.erase(layout->dims.begin() + std::ptrdiff_t(*first), layout->dims.begin() + std::ptrdiff_t(*last) + 1);
    layout->dims.insert(layout->dims.begin() + std::ptrdiff_t(*first), simplified(joined));
    return layout;
  }
  if (name == "unsqueeze") {
    const auto dim = dim_index(node->input(1), rank + 1);
    if (!dim) return std::nullopt;
    layout->dims.insert(layout->dims.begin() + std::ptrdiff_t(*dim), DimFactors{});
    return layout;
  }
  if (name == "squeeze") {
    const auto dim = node->inputs().size() == 2 ? dim_index(node->input(1), rank) : std::nullopt;
    if (!dim || !layout->dims[*dim].empty()) return std::nullopt;
    layout->dims.erase(layout->dims.begin() + std::ptrdiff_t(*dim));
    return layout;
  }
  const bool unflatten = name == "unflatten";
  const auto unflattened = unflatten ? dim_index(node->input(1), rank) : std::optional<std::size_t>(0);
  const auto items = int_list_items(node->input(unflatten ? 2 : 1));
  if (!items || !unflattened) return std::nullopt;
  std::vector<std::optional<SymbolicSize>> sizes;
  for (const IntListItem& item : *items) {
    const auto size = item.value != nullptr ? size_value(item.value) : SymbolicSize(item.constant);
    if (!size) return std::nullopt;
    sizes.push_back(size->constant() == -1 ? std::nullopt : size);
  }
  const std::vector<DimFactors> source = unflatten ? std::vector<DimFactors>{layout->dims[*unflattened]} : layout->dims;
  auto dims = recut(source, sizes);
  if (!dims) return std::nullopt;
  for (std::size_t dim = 0; dim < sizes.size(); ++dim) {
    const DimFactors& cut = (*dims)[dim];
    const bool has_lead = std::any_of(cut.begin(), cut.end(), [](const Factor& f) { return f.symbol.has_value(); });
    if (!sizes[dim] && has_lead) open_.insert(node->output());
  }
  if (!unflatten) {
    layout->dims = std::move(*dims);
    return layout;
  }
  const auto place = layout->dims.erase(layout->dims.begin() + std::ptrdiff_t(*unflattened));
  layout->dims.insert(place, dims->begin(), dims->end());
  return layout;
}

std::optional<Layout> Layouts::selected(Node* node, Value* value) {
  if (is_list_access(node)) {
    const auto index = node->kind() == c10::prim::ListUnpack ? std::optional(std::int64_t(value->offset()))
                                                             : literal_int(node->input(1));
    return index ? of_list_element(node->input(0), *index) : std::nullopt;
  }
  auto layout = of(node->input(0));
  if (!layout) return std::nullopt;
  const auto dim = dim_index(node->input(1), layout->dims.size());
  if (!dim) return std::nullopt;
  const auto extent = feature_extent(layout->dims[*dim]);
  if (node->kind() == c10::aten::select) {
    const auto index = literal_int(node->input(2));
    if (!index || !extent) return std::nullopt;
    if (!narrow(*layout, *dim, *index < 0 ? *index + *extent : *index, 1)) return std::nullopt;
    layout->dims.erase(layout->dims.begin() + std::ptrdiff_t(*dim));
    return layout;
  }
  if (node->kind() == c10::aten::narrow) {
    const auto start = literal_int(node->input(2));
    const auto length = literal_int(node->input(3));
    return start && length && narrow(*layout, *dim, *start, *length) ? layout : std::nullopt;
  }
  const auto bound = [](Value* argument, std::int64_t missing) {
    return argument->mustBeNone() ? std::optional(missing) : literal_int(argument);
  };
  constexpr std::int64_t kEnd = std::numeric_limits<std::int64_t>::max();
  const auto start = bound(node->input(2), 0);
  const auto end = bound(node->input(3), kEnd);
  if (!start || !end || literal_int(node->input(4)) != 1) return std::nullopt;
  if (*start == 0 && *end == kEnd) return layout;  // x[:]
  if (!extent) return std::nullopt;
  const std::int64_t first = std::clamp<std::int64_t>(*start < 0 ? *start + *extent : *start, 0, *extent);
  const std::int64_t last = std::clamp<std::int64_t>(*end < 0 ? *end + *extent : *end, 0, *extent);
  return narrow(*layout, *dim, first, last - first) ? layout : std::nullopt;
}

std::optional<Layout> Layouts::of_list_element(Value* list, std::int64_t index) {
  Node* node = list->node();
  if (!has_trait(node, kDivides)) return std::nullopt;
  auto layout = of(node->input(0));
  if (!layout) return std::nullopt;
  const std::string name = node->kind().toUnqualString();
  const bool unbind = name == "unbind";
  const auto dim = dim_index(node->input(unbind ? 1 : 2), layout->dims.size());
  const auto extent = dim ? feature_extent(layout->dims[*dim]) : std::nullopt;
  if (!extent) return std::nullopt;
  std::int64_t start = 0;
  std::int64_t length = 1;
  if (unbind) {
    start = index < 0 ? index + *extent : index;
  } else if (const auto sizes =
                 name == "chunk" || name == "unsafe_chunk" ? std::nullopt : constant_ints(node->input(1), *this)) {
    const auto count = static_cast<std::int64_t>(sizes->size());
    const auto place = static_cast<std::size_t>(index < 0 ? index + count : index);
    if (place >= sizes->size()) return std::nullopt;
    for (std::size_t i = 0; i < place; ++i) start += (*sizes)[i];
    length = (*sizes)[place];
  } else {
    const auto size = size_value(node->input(1));
    const auto number = size ? size->constant() : std::nullopt;
    if (!number || *number < 1) return std::nullopt;
    const bool chunk = name == "chunk" || name == "unsafe_chunk";
    const std::int64_t step = chunk ? (*extent + *number - 1) / *number : *number;
    const std::int64_t count = (*extent + step - 1) / step;
    start = (index < 0 ? index + count : index) * step;
    length = std::min(step, *extent - start);
  }
  if (!narrow(*layout, *dim, start, length)) return std::nullopt;
  if (unbind) layout->dims.erase(layout->dims.begin() + std::ptrdiff_t(*dim));
  return layout;
}

std::optional<SymbolicSize> Layouts::size(Value* tensor, std::int64_t dim) {
  const auto layout = of(tensor);
  if (!layout) {
    const auto rank = ranks_.find(tensor);
    if (dim < 0 && rank == ranks_.end()) return std::nullopt;
    return canonical({tensor, dim < 0 ? dim + rank->second : dim});
  }
  const auto count = static_cast<std::int64_t>(layout->dims.size());
  if (dim < -count || dim >= count) return std::nullopt;
  SymbolicSize product = 1;
  for (const Factor& factor : layout->dims[static_cast<std::size_t>(dim < 0 ? dim + count : dim)]) {
    product = product * (factor.symbol ? SymbolicSize(*factor.symbol) : SymbolicSize(factor.extent));
  }
  return product;
}

std::optional<SymbolicSize> Layouts::size_value(Value* value) {
  return symbolic_size(value, {[this](Value* tensor, std::int64_t dim) { return size(tensor, dim); }, literal_int});
}

SizeSymbol Layouts::canonical(SizeSymbol symbol) {
  for (bool moved = true; moved;) {
    moved = false;
    const Node* node = symbol.value->node();
    if (has_trait(node, kKeepsSizes)) {
      symbol.value = node->input(0);
      moved = true;
    } else if (node->kind() == c10::aten::transpose) {
      const auto first = literal_int(const_cast<Value*>(node->input(1)));
      const auto second = literal_int(const_cast<Value*>(node->input(2)));
      if (!first || !second || *first < 0 || *second < 0) break;
      symbol = {node->input(0), symbol.dim == *first ? *second : symbol.dim == *second ? *first : symbol.dim};
      moved = true;
    }
    for (const auto& [from, to] : equal_) {
      if (!(symbol == from)) continue;
      symbol = to;
      moved = true;
    }
  }
  return symbol;
}

}  // namespace flashconvert::rewrite
