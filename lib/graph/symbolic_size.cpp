// Sums of products of lengths (symbolic_size.h).
#include "graph/symbolic_size.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "graph/operators.h"

namespace flashconvert {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;
namespace prim = c10::prim;

namespace {

template <typename T>
int three_way(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

int compare_quotients(const SizeQuotient* a, const SizeQuotient* b) {
  if (a == b) return 0;
  if (a == nullptr || b == nullptr) return a == nullptr ? -1 : 1;
  if (const int order = three_way(a->is_remainder, b->is_remainder)) return order;
  if (const int order = compare(a->dividend, b->dividend)) return order;
  return compare(a->divisor, b->divisor);
}

std::optional<std::int64_t> evaluate_quotient(
    const SizeQuotient& quotient, const std::function<std::optional<std::int64_t>(const SizeSymbol&)>& number_of) {
  const auto dividend = quotient.dividend.evaluate(number_of);
  const auto divisor = quotient.divisor.evaluate(number_of);
  if (!dividend || !divisor || *dividend < 0 || *divisor <= 0) return std::nullopt;
  return quotient.is_remainder ? *dividend % *divisor : *dividend / *divisor;
}

SymbolicSize quotient_of(const SymbolicSize& dividend, const SymbolicSize& divisor, bool is_remainder) {
  if (!is_remainder) {
    if (auto exact = exact_quotient(dividend, divisor)) return *exact;
  }
  return SizeSymbol{nullptr, SizeSymbol::kNumber,
                    std::make_shared<const SizeQuotient>(SizeQuotient{dividend, divisor, is_remainder})};
}

std::optional<SymbolicSize> substitute_quotient(const SizeQuotient& quotient,
                                                const SymbolicSize::Substitution& size_of) {
  const auto dividend = quotient.dividend.substitute(size_of);
  const auto divisor = quotient.divisor.substitute(size_of);
  if (!dividend || !divisor) return std::nullopt;
  return quotient_of(*dividend, *divisor, quotient.is_remainder);
}

std::optional<std::int64_t> number_behind(const c10::IValue& constant) {
  if (constant.isInt()) return constant.toInt();
  if (!constant.isTensor()) return std::nullopt;
  const at::Tensor& tensor = constant.toTensor();
  if (!tensor.defined() || tensor.numel() != 1 || !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/false)) {
    return std::nullopt;
  }
  return tensor.item<std::int64_t>();
}

// Int ↔ tensor conversions do not change the number.
bool is_number_conversion(const Node* node) {
  return has_trait(node, kConverts | kCopies | kDetaches) || is_any_of(node, {"prim::unchecked_cast", "aten::Int"});
}

bool is_whole_division(const Node* node) {
  if (is_any_of(node, {"aten::floordiv", "aten::floor_divide"})) return true;
  if (node->kind() != aten::div || node->inputs().size() != 3) return false;
  const auto mode = torch::jit::toIValue(node->input(2));
  return mode && mode->isString();  // "trunc" or "floor": sizes are not negative
}

// An element of `tensor.size()`, by unpacking or by indexing.
std::optional<SymbolicSize> element_of_shape(Value* value, const SizeFacts& facts) {
  Node* node = value->node();
  Node* shape = node->input(0)->node();
  if (shape->kind() != aten::size || shape->inputs().size() != 1) return std::nullopt;
  if (node->kind() == prim::ListUnpack) {
    const auto count = static_cast<std::int64_t>(node->outputs().size());
    const auto at = static_cast<std::int64_t>(value->offset());
    auto size = facts.size_of_dim(shape->input(0), at);
    return size ? size : facts.size_of_dim(shape->input(0), at - count);
  }
  const auto index = facts.constant(node->input(1));
  return index ? facts.size_of_dim(shape->input(0), *index) : std::nullopt;
}

std::optional<SymbolicSize> sum_of(Node* node, const SizeFacts& facts) {
  const auto left = symbolic_size(node->input(0), facts);
  const auto right = symbolic_size(node->input(1), facts);
  if (!left || !right) return std::nullopt;
  const auto factor = node->inputs().size() == 3 ? facts.constant(node->input(2)) : std::optional<std::int64_t>(1);
  if (!factor) return std::nullopt;
  if (node->kind() == aten::add) return *left + *right * *factor;
  if (node->kind() == aten::sub) return *left - *right * *factor;
  return *right - *left * *factor;  // rsub
}

}  // namespace

int compare(const SizeSymbol& a, const SizeSymbol& b) {
  if (a.quotient || b.quotient) return compare_quotients(a.quotient.get(), b.quotient.get());
  const auto key = [](const SizeSymbol& symbol) { return std::make_tuple(symbol.value, symbol.dim); };
  return three_way(key(a), key(b));
}

SymbolicSize::SymbolicSize(std::int64_t constant) { add({}, constant); }

SymbolicSize::SymbolicSize(SizeSymbol symbol) { add({std::move(symbol)}, 1); }

SymbolicSize::SymbolicSize(std::int64_t coefficient, Monomial symbols) {
  std::sort(symbols.begin(), symbols.end());
  add(symbols, coefficient);
}

void SymbolicSize::add(const Monomial& symbols, std::int64_t coefficient) {
  const auto place = terms_.emplace(symbols, 0).first;
  place->second += coefficient;
  if (place->second == 0) terms_.erase(place);
}

std::optional<std::int64_t> SymbolicSize::constant() const {
  const auto only = term();
  return only && only->symbols.empty() ? std::optional(only->coefficient) : std::nullopt;
}

std::optional<SizeSymbol> SymbolicSize::symbol() const {
  const auto only = term();
  return only && only->coefficient == 1 && only->symbols.size() == 1 ? std::optional(only->symbols.front())
                                                                     : std::nullopt;
}

std::optional<SymbolicSize::Term> SymbolicSize::term() const {
  if (terms_.empty()) return Term{0, {}};
  if (terms_.size() != 1) return std::nullopt;
  return Term{terms_.begin()->second, terms_.begin()->first};
}

std::optional<SymbolicSize> SymbolicSize::substitute(const Substitution& size_of) const {
  SymbolicSize sum;
  for (const auto& [symbols, coefficient] : terms_) {
    SymbolicSize product(coefficient);
    for (const SizeSymbol& symbol : symbols) {
      const auto given = symbol.quotient ? substitute_quotient(*symbol.quotient, size_of) : size_of(symbol);
      if (!given) return std::nullopt;
      product = product * *given;
    }
    sum = sum + product;
  }
  return sum;
}

std::optional<std::int64_t> SymbolicSize::evaluate(
    const std::function<std::optional<std::int64_t>(const SizeSymbol&)>& number_of) const {
  std::int64_t sum = 0;
  for (const auto& [symbols, coefficient] : terms_) {
    std::int64_t product = coefficient;
    for (const SizeSymbol& symbol : symbols) {
      const auto number = symbol.quotient ? evaluate_quotient(*symbol.quotient, number_of) : number_of(symbol);
      if (!number || __builtin_mul_overflow(product, *number, &product)) return std::nullopt;
    }
    if (__builtin_add_overflow(sum, product, &sum)) return std::nullopt;
  }
  return sum;
}

SymbolicSize operator+(const SymbolicSize& a, const SymbolicSize& b) {
  SymbolicSize sum = a;
  for (const auto& [symbols, coefficient] : b.terms_) sum.add(symbols, coefficient);
  return sum;
}

SymbolicSize operator-(const SymbolicSize& a, const SymbolicSize& b) {
  SymbolicSize difference = a;
  for (const auto& [symbols, coefficient] : b.terms_) difference.add(symbols, -coefficient);
  return difference;
}

SymbolicSize operator*(const SymbolicSize& a, const SymbolicSize& b) {
  SymbolicSize product;
  for (const auto& [left, left_coefficient] : a.terms_) {
    for (const auto& [right, right_coefficient] : b.terms_) {
      SymbolicSize::Monomial symbols;
      std::merge(left.begin(), left.end(), right.begin(), right.end(), std::back_inserter(symbols));
      product.add(symbols, left_coefficient * right_coefficient);
    }
  }
  return product;
}

int compare(const SymbolicSize& a, const SymbolicSize& b) { return three_way(a.terms_, b.terms_); }

std::optional<SymbolicSize> exact_quotient(const SymbolicSize& a, const SymbolicSize& b) {
  const auto divisor = b.term();
  if (!divisor || divisor->coefficient == 0) return std::nullopt;
  SymbolicSize quotient;
  for (const auto& [symbols, coefficient] : a.terms_) {
    SymbolicSize::Monomial rest;
    if (coefficient % divisor->coefficient != 0 ||
        !std::includes(symbols.begin(), symbols.end(), divisor->symbols.begin(), divisor->symbols.end())) {
      return std::nullopt;
    }
    std::set_difference(symbols.begin(), symbols.end(), divisor->symbols.begin(), divisor->symbols.end(),
                        std::back_inserter(rest));
    quotient.add(rest, coefficient / divisor->coefficient);
  }
  return quotient;
}

std::optional<std::int64_t> literal_int(Value* value) {
  const auto constant = torch::jit::toIValue(value);
  return constant ? number_behind(*constant) : std::nullopt;
}

std::optional<SymbolicSize> symbolic_size(Value* number, const SizeFacts& facts) {
  if (const auto known = facts.constant(number)) return SymbolicSize(*known);
  Node* node = number->node();
  if (node->inputs().empty()) return std::nullopt;
  if (is_number_conversion(node)) return symbolic_size(node->input(0), facts);
  if (node->kind() == aten::size && node->inputs().size() == 2) {
    const auto dim = facts.constant(node->input(1));
    return dim ? facts.size_of_dim(node->input(0), *dim) : std::nullopt;
  }
  if (node->kind() == prim::ListUnpack || node->kind() == aten::__getitem__) return element_of_shape(number, facts);
  if (is_any_of(node, {"aten::add", "aten::sub", "aten::rsub"}) && node->inputs().size() >= 2) {
    return sum_of(node, facts);
  }
  const bool is_remainder = node->kind() == aten::remainder;
  if (node->kind() != aten::mul && !is_whole_division(node) && !is_remainder) return std::nullopt;
  const auto left = symbolic_size(node->input(0), facts);
  const auto right = symbolic_size(node->input(1), facts);
  if (!left || !right) return std::nullopt;
  return node->kind() == aten::mul ? *left * *right : quotient_of(*left, *right, is_remainder);
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

}  // namespace flashconvert
