// In-place operators behind a tensor (written.h).
#include "survey/written.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "survey/canonicalise.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

constexpr int kLongestChainOfViews = 16;

bool is_call(const Node* node) { return node->kind() == prim::CallMethod || node->kind() == prim::CallFunction; }

// The callee's input that a use in a call gives; null where the code is not known.
const Value* callee_input(const torch::jit::Use& use) {
  const torch::jit::Graph* callee = callee_graph(use.user);
  const std::size_t function = use.user->kind() == prim::CallFunction ? 1 : 0;  // comes first
  return callee && use.offset >= function ? callee->inputs()[use.offset - function] : nullptr;
}

// What a use in an operator says of aliases; null where it makes none, nothing where the operator has no schema.
std::optional<const c10::AliasInfo*> alias_of(const torch::jit::Use& use) {
  const auto* schema = use.user->maybeSchema();
  if (!schema || use.offset >= schema->arguments().size()) return std::nullopt;
  return schema->arguments()[use.offset].alias_info();
}

template <typename Predicate>
bool any_output(const Node* node, const Predicate& predicate) {
  return std::any_of(node->outputs().begin(), node->outputs().end(), predicate);
}

// Whether the method may return the tensor, or a view of it.
bool is_returned(const Value* value, int depth) {
  if (depth > kLongestChainOfViews) return true;
  return std::any_of(value->uses().begin(), value->uses().end(), [&](const torch::jit::Use& use) {
    if (use.user->kind() == prim::Return) return true;
    const bool makes_alias = is_call(use.user) ? !callee_input(use) || is_returned(callee_input(use), depth + 1)
                                               : alias_of(use) != std::optional<const c10::AliasInfo*>(nullptr);
    return makes_alias && any_output(use.user, [&](const Value* output) { return is_returned(output, depth + 1); });
  });
}

bool is_written(const Value* value, int depth);

bool only_reads(const torch::jit::Use& use, int depth) {
  const Node* user = use.user;
  const auto outputs_are_written = [&] {
    return any_output(user, [&](const Value* output) { return is_written(output, depth + 1); });
  };
  if (is_call(user)) {
    const Value* input = callee_input(use);
    return input && !is_written(input, depth + 1) && (!is_returned(input, depth + 1) || !outputs_are_written());
  }
  const bool leaves_branch = user->kind() == prim::Return && user->owningBlock()->owningNode() != nullptr;
  if (leaves_branch || user->kind() == prim::Loop) return false;  // under another name, which is not followed
  const auto alias = alias_of(use);
  if (!alias) return user->kind() != prim::SetAttr && !outputs_are_written();
  return !*alias || (!(*alias)->isWrite() && !outputs_are_written());
}

bool is_written(const Value* value, int depth) {
  return depth > kLongestChainOfViews ||
         !std::all_of(value->uses().begin(), value->uses().end(),
                      [&](const torch::jit::Use& use) { return only_reads(use, depth); });
}

}  // namespace

bool only_reads(const torch::jit::Use& use) { return only_reads(use, 0); }

bool is_written(const torch::jit::Value* value) { return is_written(value, 0); }

}  // namespace flashconvert::survey
