// Structural equality of two graphs.
#include "rewrite/same_graph.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_map>

namespace flashconvert::rewrite {
namespace {

using torch::jit::AttributeKind;
using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;
using ValueMap = std::unordered_map<const Value*, const Value*>;

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

bool same_types(at::ArrayRef<const Value*> a, at::ArrayRef<const Value*> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Value* x, const Value* y) { return *x->type() == *y->type(); });
}

void relate(at::ArrayRef<const Value*> a, at::ArrayRef<const Value*> b, ValueMap& related) {
  for (std::size_t i = 0; i < a.size(); ++i) related[a[i]] = b[i];
}

bool are_related(at::ArrayRef<const Value*> a, at::ArrayRef<const Value*> b, const ValueMap& related) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](const Value* x, const Value* y) {
    const auto found = related.find(x);
    return found != related.end() && found->second == y;
  });
}

bool same_block(const Block& a, const Block& b, ValueMap& related);

bool same_node(const Node& a, const Node& b, ValueMap& related) {
  if (a.kind() != b.kind() || !are_related(a.inputs(), b.inputs(), related)) return false;
  if (!same_types(a.outputs(), b.outputs()) || !same_attributes(a, b)) return false;
  if (a.blocks().size() != b.blocks().size()) return false;
  for (std::size_t i = 0; i < a.blocks().size(); ++i) {
    if (!same_block(*a.blocks()[i], *b.blocks()[i], related)) return false;
  }
  relate(a.outputs(), b.outputs(), related);
  return true;
}

bool same_block(const Block& a, const Block& b, ValueMap& related) {
  if (!same_types(a.inputs(), b.inputs())) return false;
  relate(a.inputs(), b.inputs(), related);
  auto left = a.nodes().begin();
  auto right = b.nodes().begin();
  for (; left != a.nodes().end() && right != b.nodes().end(); ++left, ++right) {
    if (!same_node(**left, **right, related)) return false;
  }
  return left == a.nodes().end() && right == b.nodes().end() && are_related(a.outputs(), b.outputs(), related);
}

}  // namespace

bool same_graph(const torch::jit::Graph& a, const torch::jit::Graph& b) {
  ValueMap related;
  return same_block(*a.block(), *b.block(), related);
}

}  // namespace flashconvert::rewrite
