// Whether anything can tell how a tensor lies in memory (strides.h).
#include "survey/strides.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <vector>

#include "graph/calls.h"
#include "graph/graph_facts.h"
#include "graph/operators.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

constexpr int kDeepest = 24;

enum class Sight {
  kAny,      // whatever can tell strides, whoever gets the method's result among them
  kNumbers,  // `stride`, `as_strided`
  kView,     // a view of the dimensions in their own order
};

// What is looked for, and how far.
struct Search {
  Sight sight = Sight::kAny;
  bool through_reshapes = false;
  bool* is_returned = nullptr;  // in a callee: set where it returns a tensor of these strides
};

// Operators whose result lies in memory as the operand does.
bool hands_strides_on(const Node* node, Search search) {
  if (has_trait(node, kReshapes) && search.through_reshapes) return true;
  if (has_trait(node, kPermutes) && search.sight == Sight::kView) return false;
  if (has_trait(node, kContiguousResult) || node->kind() == c10::aten::reshape) return false;
  constexpr std::uint64_t kAlike =
      kElementwise | kCasts | kCopies | kDetaches | kDropsOut | kPermutes | kSelects | kDivides | kExpands;
  return has_trait(node, kAlike) || (has_trait(node, kReshapes) && has_trait(node, kViews)) ||
         node->kind() == prim::ListUnpack || node->kind() == prim::TupleConstruct ||
         node->kind() == prim::TupleUnpack || node->kind() == prim::ListConstruct;
}

bool matter(const Value* tensor, Search search, int depth);

bool any_output_matters(const Node* node, Search search, int depth) {
  const auto outputs = node->outputs();
  return std::any_of(outputs.begin(), outputs.end(),
                     [&](const Value* output) { return matter(output, search, depth + 1); });
}

// What a callee returns is a matter for the caller.
bool matter_in_call(const Node* call, std::size_t offset, Search search, int depth) {
  const torch::jit::Graph* callee = callee_graph(call);
  const std::size_t first = call->kind() == prim::CallFunction ? 1 : 0;
  if (!callee || offset < first) return search.sight == Sight::kAny;
  bool is_returned = false;
  Search inside = search;
  inside.is_returned = &is_returned;
  if (matter(callee->inputs()[offset - first], inside, depth + 1)) return true;
  return is_returned && any_output_matters(call, search, depth);
}

bool matter_to(const torch::jit::Use& use, Search search, int depth) {
  const Node* user = use.user;
  if (user->kind() == prim::Return) {
    const Node* owner = user->owningBlock()->owningNode();
    if (owner && owner->kind() == prim::Loop) return search.sight == Sight::kAny;
    if (!owner && search.is_returned) *search.is_returned = true;
    if (!owner) return !search.is_returned && search.sight == Sight::kAny;
    return matter(owner->outputs()[use.offset], search, depth + 1);
  }
  if (is_call(user)) return matter_in_call(user, use.offset, search, depth);
  if (is_any_of(user, {"aten::as_strided", "aten::stride"})) return search.sight != Sight::kView;
  if (is_any_of(user, {"aten::is_contiguous"})) return search.sight == Sight::kAny;
  if (has_trait(user, kNeedsContiguous) && search.sight != Sight::kNumbers) return use.offset == 0;
  return hands_strides_on(user, search) && any_output_matters(user, search, depth);
}

bool matter(const Value* tensor, Search search, int depth) {
  if (depth > kDeepest) return search.sight == Sight::kAny;
  return std::any_of(tensor->uses().begin(), tensor->uses().end(),
                     [&](const torch::jit::Use& use) { return matter_to(use, search, depth); });
}

std::int64_t constant_or(const Value* value, std::int64_t otherwise) {
  return torch::jit::constant_as<std::int64_t>(value).value_or(otherwise);
}

// [B, H, L, D] to [B, L, H, D], as heads are merged.
bool exchanges_heads_and_length(const Node* node) {
  if (node->kind() == c10::aten::permute) {
    std::vector<std::int64_t> order;
    for (const Value* dim : GraphFacts::list_elements(node->input(1))) order.push_back(constant_or(dim, -1));
    return order == std::vector<std::int64_t>{0, 2, 1, 3};
  }
  if (node->kind() != c10::aten::transpose) return false;
  const std::int64_t first = constant_or(node->input(1), -1), second = constant_or(node->input(2), -1);
  return std::min(first, second) == 1 && std::max(first, second) == 2;
}

}  // namespace

bool strides_matter(const Value* tensor, bool is_transposed) {
  const auto turns = [](const torch::jit::Use& use) {
    return has_trait(use.user, kPermutes) && !exchanges_heads_and_length(use.user);
  };
  const bool is_turned = std::any_of(tensor->uses().begin(), tensor->uses().end(), turns);
  return matter(tensor, {Sight::kAny, is_transposed || is_turned}, 0);
}

bool strides_are_read(const Value* tensor) { return matter(tensor, {Sight::kNumbers}, 0); }

bool is_written_to(const Value* tensor) {
  return std::any_of(tensor->uses().begin(), tensor->uses().end(), [](const torch::jit::Use& use) {
    if (use.offset != 0) return false;
    if (has_trait(use.user, kWrites)) return true;
    const auto outputs = use.user->outputs();
    // A reshape that needs a copy of the one needs none of the other.
    return has_trait(use.user, kViews | kReshapes) && std::any_of(outputs.begin(), outputs.end(), is_written_to);
  });
}

bool is_viewed_in_order(const Value* tensor) { return matter(tensor, {Sight::kView}, 0); }

}  // namespace flashconvert::survey
