// Recognises calls between a product and a softmax (score_modules.h).
#include "survey/score_modules.h"

#include "survey/method_facts.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;

namespace {

constexpr int kMostOperators = 8;  // on scores, in a module or beside its call

// Operators whose first operand is the scores, before and after them.
bool keeps_scores(const Node* node) { return has_trait(node, kElementwise | kCasts | kCopies | kReshapes); }

// The argument of the call that its result is, but for what is done to it on the way; null for any other result.
const Value* changed_argument(const Node* call, const Graph* callee) {
  if (callee->outputs().size() != 1) return nullptr;
  const Value* value = callee->outputs()[0];
  for (int steps = 0; steps < kMostOperators; ++steps) {
    const Node* node = value->node();
    if (node->kind() == prim::Param) return steps > 0 ? call->input(value->offset()) : nullptr;
    if (!keeps_scores(node)) return nullptr;
    value = node->input(0);
  }
  return nullptr;
}

bool come_from_product(const Value* scores) {
  for (int steps = 0; steps < kMostOperators; ++steps) {
    if (is_product(scores->node())) return true;
    if (!keeps_scores(scores->node())) return false;
    scores = scores->node()->input(0);
  }
  return false;
}

bool go_to_softmax(const Value* scores) {
  for (int steps = 0; steps < kMostOperators && scores->uses().size() == 1; ++steps) {
    const Node* user = scores->uses()[0].user;
    if (is_softmax(user)) return true;
    if (!keeps_scores(user) || user->input(0) != scores) return false;
    scores = user->output();
  }
  return false;
}

}  // namespace

bool changes_scores(const Node* call, const Graph* callee) {
  if (call->kind() != prim::CallMethod || call->outputs().size() != 1) return false;
  const Value* scores = changed_argument(call, callee);
  return scores && come_from_product(scores) && go_to_softmax(call->output());
}

}  // namespace flashconvert::survey
