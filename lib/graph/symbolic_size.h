// Symbolic sizes: the integers of a graph as sums of products of lengths, so that two spellings of one size are equal.
// Traces write them as chains (size, NumToTensor, mul, floor_divide, Int), scripts as arithmetic on ints.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace flashconvert {

class SymbolicSize;
struct SizeQuotient;

// A length that nothing more is known of: a dimension of a tensor, a number that is computed otherwise, or the quotient
// (or remainder) of two sizes where the division need not be exact.
struct SizeSymbol {
  const torch::jit::Value* value = nullptr;
  std::int64_t dim = 0;  // of the tensor: from the front, or from the end where it is negative
  std::shared_ptr<const SizeQuotient> quotient = nullptr;

  static constexpr std::int64_t kNumber = INT64_MIN;  // in place of `dim`: the value itself is the number
};
// -1, 0 or 1: some order of symbols, the same for as long as their graph lives.
int compare(const SizeSymbol& a, const SizeSymbol& b);
inline bool operator==(const SizeSymbol& a, const SizeSymbol& b) { return compare(a, b) == 0; }
inline bool operator<(const SizeSymbol& a, const SizeSymbol& b) { return compare(a, b) < 0; }

// Σ coefficient · Π symbols, in one order: equal sizes are equal values.
class SymbolicSize {
public:
  using Monomial = std::vector<SizeSymbol>;  // sorted; empty: the constant term

  SymbolicSize() = default;             // 0
  SymbolicSize(std::int64_t constant);  // NOLINT(google-explicit-constructor): a number is a size
  SymbolicSize(SizeSymbol symbol);      // NOLINT(google-explicit-constructor)
  SymbolicSize(std::int64_t coefficient, Monomial symbols);

  std::optional<std::int64_t> constant() const;
  // The size as one symbol alone, or as one coefficient · Π symbols; nothing for other sizes.
  std::optional<SizeSymbol> symbol() const;
  struct Term {
    std::int64_t coefficient = 1;
    Monomial symbols;
  };
  std::optional<Term> term() const;

  // The size with another in the place of each symbol; nothing where one of them has none.
  using Substitution = std::function<std::optional<SymbolicSize>(const SizeSymbol&)>;
  std::optional<SymbolicSize> substitute(const Substitution& size_of) const;

  // The number that the size is where each symbol has one; nothing where one of them has none, or beyond 64 bits.
  std::optional<std::int64_t> evaluate(
      const std::function<std::optional<std::int64_t>(const SizeSymbol&)>& number_of) const;

  friend SymbolicSize operator+(const SymbolicSize& a, const SymbolicSize& b);
  friend SymbolicSize operator-(const SymbolicSize& a, const SymbolicSize& b);
  friend SymbolicSize operator*(const SymbolicSize& a, const SymbolicSize& b);
  friend bool operator==(const SymbolicSize& a, const SymbolicSize& b) { return compare(a, b) == 0; }
  friend bool operator!=(const SymbolicSize& a, const SymbolicSize& b) { return compare(a, b) != 0; }
  friend bool operator<(const SymbolicSize& a, const SymbolicSize& b) { return compare(a, b) < 0; }
  friend int compare(const SymbolicSize& a, const SymbolicSize& b);

  // a / b where that is exact whatever the symbols are.
  friend std::optional<SymbolicSize> exact_quotient(const SymbolicSize& a, const SymbolicSize& b);

private:
  void add(const Monomial& symbols, std::int64_t coefficient);
  std::map<Monomial, std::int64_t> terms_;  // no coefficient is 0
};

struct SizeQuotient {
  SymbolicSize dividend, divisor;
  bool is_remainder = false;
};

// What a graph's analysis knows: the size of a dimension of a tensor, and the constant behind a number.
struct SizeFacts {
  std::function<std::optional<SymbolicSize>(torch::jit::Value* tensor, std::int64_t dim)> size_of_dim;
  std::function<std::optional<std::int64_t>(torch::jit::Value* number)> constant;
};

// The value of an int, or of a number that travels as a tensor; nothing where it is no arithmetic on sizes.
std::optional<SymbolicSize> symbolic_size(torch::jit::Value* number, const SizeFacts& facts);

// The integer that a constant node holds, as a number or as a tensor of one element.
std::optional<std::int64_t> literal_int(torch::jit::Value* value);

// The elements of a list of ints, each a value (list construct) or a constant.
struct IntListItem {
  torch::jit::Value* value = nullptr;  // null: `constant` holds
  std::int64_t constant = 0;
};
std::optional<std::vector<IntListItem>> int_list_items(torch::jit::Value* list);

}  // namespace flashconvert
