// Which masks are causal, or causal and more (assumed_mask.h).
#include "survey/assumed_mask.h"

#include <algorithm>

#include "graph/graph_facts.h"
#include "graph/memory.h"
#include "survey/mask_expression.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

// One layer of a mask that is expanded over a batch.
at::Tensor without_expanded(at::Tensor mask) {
  for (std::int64_t dim = mask.dim() - 3; dim >= 0; --dim) {
    if (mask.stride(dim) == 0 && mask.size(dim) > 0) mask = mask.select(dim, 0);
  }
  return mask;
}

// The number that hides, where the mask is 0 up to the diagonal and that number above it. A mask of one column hides
// nothing: 0.
std::optional<double> number_above_diagonal(const at::Tensor& built) {
  if (built.dim() < 2 || !built.is_floating_point() || built.numel() == 0) return std::nullopt;
  const at::Tensor mask = without_expanded(built);
  const double lowest = mask.min().item<double>();
  const at::Tensor triangle = at::full({mask.size(-2), mask.size(-1)}, lowest, mask.options()).triu(1);
  return at::equal(mask, triangle.expand_as(mask)) ? std::optional(lowest) : std::nullopt;
}

// Runs the mask at all lengths that could make a difference, and keeps what it says at each.
class Triangles {
public:
  explicit Triangles(MaskExpression& expression, std::int64_t longest) : expression_(expression), longest_(longest) {}

  // False where the mask of these lengths is no causal one. Sizes that are neither length (the batch) must not matter.
  bool look_at(std::int64_t queries, std::int64_t keys) {
    for (const std::int64_t further : {1, 2, 3}) {
      const auto built = expression_.run(queries, keys, further);
      if (!built) continue;  // lengths that the original rejects
      const auto number = number_above_diagonal(*built);
      if (!number) return false;
      is_whole_ = is_whole_ || std::min(built->size(-2), built->size(-1)) >= longest_;
      if (built->size(-1) == 1) continue;
      if (lowest_ && *lowest_ != *number) return false;
      lowest_ = number;
    }
    return true;
  }

  // Once a mask was as long as could matter.
  std::optional<double> number() const { return is_whole_ && lowest_ && *lowest_ < 0 ? lowest_ : std::nullopt; }

private:
  MaskExpression& expression_;
  std::int64_t longest_;
  std::optional<double> lowest_;
  bool is_whole_ = false;
};

// The number that hides in a causal mask of these two lengths, which may be one.
std::optional<double> read_triangle(Value* mask, const ScoreLengths& lengths, const GraphFacts& facts) {
  constexpr std::int64_t kLongestOfTwo = 256;  // one of them may be the batch
  const bool same = lengths.queries == lengths.keys;
  MaskExpression expression(mask, lengths, facts);
  const std::int64_t longest = std::max(expression.longest_buffer(), expression.beyond_constants());
  if (longest > (same ? MaskExpression::kLongest : kLongestOfTwo)) return std::nullopt;
  Triangles triangles(expression, longest);
  const std::vector<std::int64_t> tries{1, 2, 3, 5, 8, longest - 1, longest};
  for (const std::int64_t queries : tries) {
    for (const std::int64_t keys : tries) {
      if ((!same || queries == keys) && !triangles.look_at(queries, keys)) return std::nullopt;
    }
  }
  return triangles.number();
}

std::optional<double> read_triangle(Value* mask, const GraphFacts& facts) {
  const MaskExpression expression(mask, {}, facts);
  if (!expression.is_readable()) return std::nullopt;
  const std::vector<SymbolicSize> sizes = expression.sizes();
  for (const SymbolicSize& queries : sizes) {
    if (const auto number = read_triangle(mask, {queries, queries}, facts)) return number;
  }
  for (const SymbolicSize& queries : sizes) {
    for (const SymbolicSize& keys : sizes) {
      if (queries == keys) continue;
      if (const auto number = read_triangle(mask, {queries, keys}, facts)) return number;
    }
  }
  return std::nullopt;
}

bool is_same_part(Value* a, Value* b, const GraphFacts& facts) {
  if (a == b) return true;
  const Node* first = a->node();
  const Node* second = b->node();
  if (first->kind() != aten::slice || second->kind() != aten::slice) return false;
  for (std::size_t i = 1; i < first->inputs().size(); ++i) {
    if (facts.is_none(first->input(i)) && facts.is_none(second->input(i))) continue;
    if (facts.size_value(first->input(i)) != facts.size_value(second->input(i))) return false;
  }
  return is_same_part(first->input(0), second->input(0), facts);
}

// The value is `part` with the number in some places.
bool fills(Value* value, Value* part, double number, const GraphFacts& facts) {
  const Node* node = value->node();
  return node->kind() == aten::masked_fill && facts.number(node->input(2)) == number &&
         is_same_part(node->input(0), part, facts);
}

// Whether all that is written to the tensor, or to a slice of it, is this number in some places.
bool is_only_filled(Value* tensor, double number, const GraphFacts& facts) {
  return std::all_of(tensor->uses().begin(), tensor->uses().end(), [&](const torch::jit::Use& use) {
    Node* user = use.user;
    if (user->kind() == aten::slice) return is_only_filled(user->output(), number, facts);
    if (user->kind() == aten::copy_ && use.offset == 0) {
      return !user->hasUses() && fills(user->input(1), tensor, number, facts);
    }
    return only_reads(use);
  });
}

bool is_zero_or_none(Value* start, const GraphFacts& facts) {
  return facts.is_none(start) || facts.integer(start) == 0;
}

}  // namespace

std::optional<AssumedMask> read_built_mask(Value* mask, const GraphFacts& facts) {
  if (const auto lowest = read_triangle(mask, facts)) return AssumedMask{*lowest, true};
  if (mask->node()->kind() != aten::clone) return std::nullopt;
  const auto lowest = read_triangle(mask->node()->input(0), facts);
  if (!lowest || !is_only_filled(mask, *lowest, facts)) return std::nullopt;
  return AssumedMask{*lowest, false};
}

Value* uncut_mask(Value* mask, const GraphFacts& facts) {
  Node* node = mask->node();
  const bool is_cut = node->kind() == aten::slice && node->inputs().size() == 5 &&
                      is_zero_or_none(node->input(2), facts) && facts.integer(node->input(4)) == 1;
  const bool is_extended = node->kind() == aten::unsqueeze && facts.integer(node->input(1)) == 0;
  return is_cut || is_extended ? uncut_mask(node->input(0), facts) : mask;
}

}  // namespace flashconvert::survey
