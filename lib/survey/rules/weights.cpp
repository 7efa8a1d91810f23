// From the softmax down: casts, inactive dropout and reshapes to the second product, and the check that nothing else
// sees the weights.
#include <unordered_set>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;
namespace prim = c10::prim;

namespace {

// The value without the operators that keep the weights as they are, downwards: its only consumer.
Node* only_consumer(Value* weights) {
  Node* consumer = nullptr;
  for (const auto& use : weights->uses()) {
    if (use.offset == 0 && has_trait(use.user, kAsks)) continue;
    if (consumer == use.user) continue;
    if (consumer || use.user->kind() == prim::Return || use.user->kind() == prim::TupleConstruct ||
        use.user->kind() == prim::ListConstruct || use.user->kind() == prim::DictConstruct) {
      if (use.user->kind() == prim::ListConstruct && use.user->outputs()[0]->uses().size() == 1 &&
          use.user->outputs()[0]->uses()[0].user->kind() == aten::einsum && !consumer) {
        consumer = use.user->outputs()[0]->uses()[0].user;
        continue;
      }
      throw Declined(reaches_result(weights) ? "attention weights are returned"
                                             : "attention weights are used elsewhere");
    }
    consumer = use.user;
  }
  return consumer;
}

bool passes_dropout(const Node* node, const MethodFacts& facts) {
  if (!has_trait(node, kDropsOut)) return false;
  if (is_inactive_dropout(node, facts)) return true;
  throw Declined("dropout of the attention weights is active");
}

}  // namespace

bool is_inactive_dropout(const Node* node, const MethodFacts& facts) {
  const auto probability = facts.number(node->input(1));
  const auto train = facts.boolean(node->input(2));
  return (train && !*train) || (probability && *probability == 0);
}

bool reaches_result(const Value* value) {
  std::vector<const Value*> pending{value};
  std::unordered_set<const Value*> seen;
  while (!pending.empty()) {
    const Value* current = pending.back();
    pending.pop_back();
    if (!seen.insert(current).second) continue;
    for (const auto& use : current->uses()) {
      if (use.user->kind() == prim::Return) return true;
      if (is_product(use.user)) continue;
      for (const Value* output : use.user->outputs()) pending.push_back(output);
    }
  }
  return false;
}

bool walk_weights(SiteWalk& site, const MethodFacts& facts) {
  Value* weights = site.softmax->output();
  bool swapped = false;
  constexpr int kLongestWalk = 16;
  for (int steps = 0; steps < kLongestWalk; ++steps) {
    Node* consumer = only_consumer(weights);
    if (!consumer) return false;
    site.path.push_back(consumer);
    const std::string name = kind_name(consumer);
    if (is_product(consumer)) {
      const Product product = read_product(consumer, facts);
      if (product.addend) throw Declined("something is added to the product of weights and values");
      if (product.alpha != 1) throw Declined("the product of weights and values is scaled");
      const bool on_left = product.left.root == weights;
      if (on_left == swapped) throw Declined("the weights enter the second product transposed");
      if (on_left && !product.left.order.empty()) throw Declined("the second einsum permutes the weights");
      site.value_product = consumer;
      site.output = consumer->output();
      if (on_left) {
        site.value = product.right;
        site.output_order = product.output_order;
      } else {  // (P Vᵀ…)ᵀ = Vᵀ Pᵀ
        if (kind_name(consumer) == "aten::einsum") throw Declined("the weights are the second operand of an einsum");
        site.value = Operand{product.left.root, {}, true};
        site.output_swapped = true;
      }
      return true;
    }
    const bool is_cast = has_trait(consumer, kCasts | kCopies | kDetaches);
    if ((is_cast && consumer->input(0) == weights) || passes_dropout(consumer, facts)) {
      site.casts_weights = site.casts_weights || has_trait(consumer, kCasts);
      weights = consumer->output();
    } else if (consumer->kind() == aten::view || consumer->kind() == aten::reshape) {
      site.output_levels.push_back(consumer);
      weights = consumer->output();
    } else if (swaps_last_two(consumer, facts) && !swapped) {
      swapped = true;
      weights = consumer->output();
    } else {
      throw Declined("the attention weights pass through " + name);
    }
  }
  throw Declined("too many operators between softmax and second product");
}

}  // namespace flashconvert::survey
