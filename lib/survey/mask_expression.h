// The expression of a mask as a function of the two lengths of the scores.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "graph/subgraph.h"
#include "survey/position_arithmetic.h"

namespace flashconvert::survey {

// The two lengths of the scores.
struct ScoreLengths {
  SymbolicSize queries, keys;
};

class MaskExpression {
public:
  MaskExpression(torch::jit::Value* mask, ScoreLengths lengths, const GraphFacts& facts);

  // Whether sizes, constants and buffers are all that the mask depends on, and nothing writes to any part of it.
  bool is_readable() const { return readable_; }
  bool depends_on_lengths() const;
  // Whether sizes that are neither length are among them: the mask must be the same for all their values.
  bool has_further_sizes() const;
  // A length beyond the sum of all numbers in the expression: no diagonal or window can be offset by more.
  std::int64_t beyond_constants() const;
  // The longest dimension of any buffer; 0 where there is none.
  std::int64_t longest_buffer() const { return longest_buffer_; }
  static constexpr std::int64_t kLongest = 4608;  // masks are run up to this length

  // The sizes that it depends on, each once.
  std::vector<SymbolicSize> sizes() const;

  // The mask for these lengths; nothing where the expression rejects them. `further` is the value of every other size.
  std::optional<at::Tensor> run(std::int64_t queries, std::int64_t keys, std::int64_t further);

private:
  bool accept(torch::jit::Value* value, MaskRole role);
  bool accept_new(torch::jit::Value* value, MaskRole role);
  bool accept_constant(const c10::IValue& constant);
  bool accept_attribute(torch::jit::Value* value);
  bool accept_size(torch::jit::Value* value);
  bool accept_operator(torch::jit::Node* node, MaskRole role);
  std::optional<std::int64_t> size_of(const SymbolicSize& size, std::int64_t queries, std::int64_t keys) const;

  ScoreLengths lengths_;
  const GraphFacts& facts_;
  Subgraph subgraph_;
  std::map<std::pair<torch::jit::Value*, MaskRole>, bool> accepted_;
  std::int64_t sum_of_constants_ = 0;
  std::int64_t longest_buffer_ = 0;
  bool readable_ = false;
};

}  // namespace flashconvert::survey
