// Structural equality of two graphs.
#include "graph/same_graph.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_map>

namespace flashconvert {
namespace {

using torch::jit::AttributeKind;
using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;

// What is known of two graphs while they are walked side by side.
struct Relation {
  bool any_class = false;
  std::unordered_map<const Value*, const Value*> values;
};

bool same_tensor(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  return a.is_same(b) ||
         (a.scalar_type() == b.scalar_type() && a.device() == b.device() && a.sizes() == b.sizes() && at::equal(a, b));
}

bool same_constant(const c10::IValue& a, const c10::IValue& b) {
  if (a.tagKind() != b.tagKind()) return false;
  if (a.isTensor()) return same_tensor(a.toTensor(), b.toTensor());
  if (a.isTensorList()) {
    const auto as = a.toTensorVector();
    const auto bs = b.toTensorVector();
    return std::equal(as.begin(), as.end(), bs.begin(), bs.end(), same_tensor);
  }
  if (a.isObject()) return a.toObject() == b.toObject();
  return a == b;
}

// Nodes of a method's graph, constants apart, carry names and numbers only; anything else counts as different.
bool same_attribute(const Node& a, const Node& b, c10::Symbol name) {
  if (!b.hasAttribute(name) || a.kindOf(name) != b.kindOf(name)) return false;
  switch (a.kindOf(name)) {
    case AttributeKind::s:
      return a.s(name) == b.s(name);
    case AttributeKind::ss:
      return a.ss(name) == b.ss(name);
    case AttributeKind::i:
      return a.i(name) == b.i(name);
    case AttributeKind::is:
      return a.is(name) == b.is(name);
    case AttributeKind::f:
      return a.f(name) == b.f(name);
    case AttributeKind::ty:
      return *a.ty(name) == *b.ty(name);
    default:
      return false;
  }
}

bool same_attributes(const Node& a, const Node& b) {
  if (a.kind() == torch::jit::prim::Constant) {
    const auto left = torch::jit::toIValue(a.output());
    const auto right = torch::jit::toIValue(b.output());
    if (left.has_value() != right.has_value()) return false;
    return !left || same_constant(*left, *right);
  }
  const auto names = a.attributeNames();
  return names.size() == b.attributeNames().size() &&
         std::all_of(names.begin(), names.end(), [&](c10::Symbol name) { return same_attribute(a, b, name); });
}

bool is_module(const Value* value) { return value->type()->is_module(); }

bool same_types(at::ArrayRef<const Value*> a, at::ArrayRef<const Value*> b, bool any_class) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const Value* x, const Value* y) {
    return *x->type() == *y->type() || (any_class && is_module(x) && is_module(y));
  });
}

void relate(at::ArrayRef<const Value*> a, at::ArrayRef<const Value*> b, Relation& relation) {
  for (std::size_t i = 0; i < a.size(); ++i) relation.values[a[i]] = b[i];
}

bool are_related(at::ArrayRef<const Value*> a, at::ArrayRef<const Value*> b, const Relation& relation) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const Value* x, const Value* y) {
    const auto found = relation.values.find(x);
    return found != relation.values.end() && found->second == y;
  });
}

bool same_block(const Block& a, const Block& b, Relation& relation);

bool same_node(const Node& a, const Node& b, Relation& relation) {
  if (a.kind() != b.kind() || !are_related(a.inputs(), b.inputs(), relation)) return false;
  if (!same_types(a.outputs(), b.outputs(), relation.any_class) || !same_attributes(a, b)) return false;
  if (a.blocks().size() != b.blocks().size()) return false;
  for (std::size_t i = 0; i < a.blocks().size(); ++i) {
    if (!same_block(*a.blocks()[i], *b.blocks()[i], relation)) return false;
  }
  relate(a.outputs(), b.outputs(), relation);
  return true;
}

bool same_block(const Block& a, const Block& b, Relation& relation) {
  if (!same_types(a.inputs(), b.inputs(), relation.any_class)) return false;
  relate(a.inputs(), b.inputs(), relation);
  auto left = a.nodes().begin();
  auto right = b.nodes().begin();
  for (; left != a.nodes().end() && right != b.nodes().end(); ++left, ++right) {
    if (!same_node(**left, **right, relation)) return false;
  }
  return left == a.nodes().end() && right == b.nodes().end() && are_related(a.outputs(), b.outputs(), relation);
}

}  // namespace

bool same_graph(const torch::jit::Graph& a, const torch::jit::Graph& b) {
  Relation relation;
  return same_block(*a.block(), *b.block(), relation);
}

bool same_graph_in_any_class(const torch::jit::Graph& a, const torch::jit::Graph& b) {
  Relation relation{true, {}};
  return same_block(*a.block(), *b.block(), relation);
}

}  // namespace flashconvert
