// Which memory a value may share, and what writes to it (memory.h).
#include "graph/memory.h"

#include <algorithm>
#include <cstddef>
#include <unordered_set>

#include "graph/calls.h"

namespace flashconvert {

using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

std::vector<Value*> written_inputs(const Node* node) {
  std::vector<Value*> written;
  if (node->kind() == c10::prim::SetAttr) {
    if (!is_module_attribute(node)) written.push_back(node->input(0));
    return written;
  }
  const c10::FunctionSchema* schema = node->maybeSchema();
  if (schema == nullptr || !schema->is_mutable()) return written;
  for (size_t i = 0; i < schema->arguments().size() && i < node->inputs().size(); ++i) {
    const c10::AliasInfo* alias = schema->arguments()[i].alias_info();
    if (alias != nullptr && alias->isWrite()) written.push_back(node->input(i));
  }
  return written;
}

namespace {

void collect_bases(Value* value, const CellOf& cell_of, std::set<Base>& found, std::unordered_set<Value*>& seen) {
  if (!seen.insert(value).second) return;
  Node* node = value->node();
  const auto follow = [&](at::ArrayRef<Value*> values) {
    for (Value* next : values) collect_bases(next, cell_of, found, seen);
  };
  if (node->kind() == c10::prim::Param) {
    Node* owner = node->owningBlock()->owningNode();
    if (owner == nullptr) {
      found.insert({Base::Kind::kInput, {}, nullptr, value->offset()});
    } else {
      follow(owner->inputs());
    }
  } else if (node->kind() == c10::prim::GetAttr) {
    const auto cell = cell_of(node);
    found.insert(cell ? Base{Base::Kind::kCell, *cell, nullptr, 0} : Base{});
  } else if (!node->blocks().empty()) {
    if (node->kind() != c10::prim::If) follow(node->inputs());
    for (Block* block : node->blocks()) follow(block->outputs());
  } else if (is_call(node)) {
    follow(returned_arguments(node));
    found.insert({Base::Kind::kLocal, {}, node, 0});
  } else if (const c10::FunctionSchema* schema = node->maybeSchema()) {
    const auto& returns = schema->returns();
    const c10::AliasInfo* result = value->offset() < returns.size() ? returns[value->offset()].alias_info() : nullptr;
    bool shares = false;
    for (size_t i = 0; result != nullptr && i < schema->arguments().size() && i < node->inputs().size(); ++i) {
      if (schema->arguments()[i].alias_info() == nullptr) continue;
      shares = true;
      follow(node->inputs()[i]);
    }
    if (!shares || !result->isWrite()) found.insert({Base::Kind::kLocal, {}, node, 0});
  } else {
    follow(node->inputs());  // lists, tuples, casts
    found.insert({Base::Kind::kLocal, {}, node, 0});
  }
}

}  // namespace

std::set<Base> bases(Value* value, const CellOf& cell_of) {
  std::set<Base> found;
  std::unordered_set<Value*> seen;
  collect_bases(value, cell_of, found, seen);
  return found;
}

namespace {

constexpr int kLongestChainOfViews = 16;

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
  if (user->kind() == prim::Loop) return false;  // under another name, which is not followed
  if (user->kind() == prim::Return && user->owningBlock()->owningNode() != nullptr) {
    const Node* branch = user->owningBlock()->owningNode();
    return branch->kind() == prim::If && !is_written(branch->outputs()[use.offset], depth + 1);
  }
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

std::vector<Value*> returned_arguments(const Node* call) {
  const bool is_function = call->kind() == prim::CallFunction;
  const std::size_t first = is_function ? 1 : 0;  // the function itself stands before the arguments
  const torch::jit::Graph* callee = callee_graph(call);
  std::vector<Value*> arguments;
  for (std::size_t i = 1; i < call->inputs().size(); ++i) {
    Value* argument = const_cast<Value*>(call->input(i));
    if (!callee || is_returned(callee->inputs()[i - first], 0)) arguments.push_back(argument);
  }
  return arguments;
}

bool only_reads(const torch::jit::Use& use) { return only_reads(use, 0); }

bool is_written(const torch::jit::Value* value) { return is_written(value, 0); }

}  // namespace flashconvert
