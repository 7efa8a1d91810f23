// Whether anything can tell how a tensor lies in memory (strides.h).
#include "survey/strides.h"

#include <algorithm>

#include "graph/calls.h"
#include "graph/operators.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

constexpr int kDeepest = 24;

// Operators whose result lies in memory as the operand does.
bool hands_strides_on(const Node* node) {
  if (has_trait(node, kContiguousResult) || node->kind() == c10::aten::reshape) return false;
  constexpr std::uint64_t kAlike =
      kElementwise | kCasts | kCopies | kDetaches | kDropsOut | kPermutes | kSelects | kDivides | kExpands;
  return has_trait(node, kAlike) || (has_trait(node, kReshapes) && has_trait(node, kViews)) ||
         node->kind() == prim::ListUnpack || node->kind() == prim::TupleConstruct ||
         node->kind() == prim::TupleUnpack || node->kind() == prim::ListConstruct;
}

bool matter(const Value* tensor, int depth);

bool any_output_matters(const Node* node, int depth) {
  const auto outputs = node->outputs();
  return std::any_of(outputs.begin(), outputs.end(), [&](const Value* output) { return matter(output, depth + 1); });
}

// Inside a callee, what it returns is a matter for the caller.
bool matter_in_call(const Node* call, std::size_t offset, int depth) {
  const torch::jit::Graph* callee = callee_graph(call);
  const std::size_t first = call->kind() == prim::CallFunction ? 1 : 0;
  if (!callee || offset < first) return true;
  const Value* input = callee->inputs()[offset - first];
  return matter(input, depth + 1) || any_output_matters(call, depth);
}

bool matter_to(const torch::jit::Use& use, int depth) {
  const Node* user = use.user;
  if (user->kind() == prim::Return) {
    const Node* owner = user->owningBlock()->owningNode();
    return !owner || owner->kind() != prim::If || matter(owner->outputs()[use.offset], depth + 1);
  }
  if (is_call(user)) return matter_in_call(user, use.offset, depth);
  if (has_trait(user, kNeedsContiguous)) return use.offset == 0;
  if (is_any_of(user, {"aten::as_strided", "aten::stride", "aten::is_contiguous"})) return true;
  return hands_strides_on(user) && any_output_matters(user, depth);
}

bool matter(const Value* tensor, int depth) {
  if (depth > kDeepest) return true;
  return std::any_of(tensor->uses().begin(), tensor->uses().end(),
                     [&](const torch::jit::Use& use) { return matter_to(use, depth); });
}

}  // namespace

bool strides_matter(const Value* tensor) { return matter(tensor, 0); }

}  // namespace flashconvert::survey
