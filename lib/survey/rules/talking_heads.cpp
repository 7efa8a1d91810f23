// Talking heads (Shazeer et al. 2020): a linear layer across the heads, on the scores or on the weights. No fused
// attention computes it; this rule gives the reason by its name.
#include "graph/calls.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace prim = c10::prim;
namespace aten = c10::aten;

namespace {

constexpr int kMostMoves = 12;  // operators that pass scores on

bool is_weighted(const Node* node) {
  return has_trait(node, kProjects) && !is_any_of(node, {"aten::mm", "aten::addmm"});
}

// A layer with weights over the one tensor that it takes.
const Node* layer_of(const Node* node) {
  if (is_weighted(node)) return node;
  if (node->kind() != prim::CallMethod || node->inputs().size() != 2) return nullptr;
  const Value* result = only_result(node);
  return result && is_weighted(result->node()) ? result->node() : nullptr;
}

bool moves_dimensions(const Node* node) { return has_trait(node, kPermutes); }

// Operators that keep every score as it is, in another place or another dtype, or scale all of them.
bool passes_scores_on(const Node* node) {
  return has_trait(node, kPermutes | kCopies | kCasts | kDropsOut) || is_any_of(node, {"aten::mul", "aten::div"});
}

// Does the layer mix heads? A convolution has them as channels; a linear layer needs them last.
bool mixes(const Node* layer, bool heads_are_last) { return layer->kind() != aten::linear || heads_are_last; }

// Upwards from the softmax: a layer over the heads, then a product.
bool is_above(Value* value) {
  const Node* layer = nullptr;
  bool moved = false;  // dimensions, between product and layer
  for (int steps = 0; steps < kMostMoves; ++steps) {
    Node* node = value->node();
    if (is_product(node)) return layer && mixes(layer, moved);
    const Node* found = layer_of(node);
    if (found && layer) return false;
    if (!found && !passes_scores_on(node)) return false;
    if (found) {
      layer = found;
      value = node->input(node->kind() == prim::CallMethod ? 1 : 0);
      continue;
    }
    moved = moved || (layer && moves_dimensions(node));
    value = node->input(0);
  }
  return false;
}

// Downwards from the weights to a product; whether there is one, and whether a layer over the heads stands before it.
struct Below {
  bool product = false;
  bool layer = false;
};

Below below(Value* value) {
  Below found;
  bool moved = false;
  for (int steps = 0; steps < kMostMoves && value->uses().size() == 1; ++steps) {
    Node* node = value->uses()[0].user;
    if (is_product(node)) return {true, found.layer};
    if (const Node* layer = layer_of(node)) {
      found.layer = found.layer || mixes(layer, moved);
    } else if (!passes_scores_on(node) && node->kind() != prim::CallMethod) {  // a call: a dropout that was left
      return {};
    }
    moved = moved || moves_dimensions(node);
    value = node->output();
  }
  return {};
}

}  // namespace

bool mixes_heads(Node* softmax) {
  const Below found = below(softmax->output());
  return found.product && (found.layer || is_above(softmax->input(0)));
}

}  // namespace flashconvert::survey
