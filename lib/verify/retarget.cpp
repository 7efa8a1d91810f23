// Rewrites the constants of an inlined copy of a graph: devices, dtypes and tensors.
#include "verify/retarget.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <array>
#include <string>

namespace flashconvert::verify {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;

namespace {

bool is_dtype_argument(const c10::Argument& argument) {
  auto type = argument.real_type();
  if (const auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
  return type->kind() == c10::TypeKind::ScalarTypeType || argument.name() == "dtype";
}

// Factories whose result has the default dtype (float32) where none is given, whatever their arguments.
bool is_floating_factory(const Node& node) {
  constexpr std::array kFactories = {"aten::zeros", "aten::ones",     "aten::empty",    "aten::rand",
                                     "aten::randn", "aten::linspace", "aten::logspace", "aten::eye"};
  const std::string name = node.kind().toQualString();
  for (const char* factory : kFactories) {
    if (name == factory) return true;
  }
  return false;
}

// Factories whose result has the default dtype where the value that they are given is a floating number.
bool is_floating_from_value(const Node& node) {
  const std::string name = node.kind().toQualString();
  const auto floating = [&](std::size_t input) {
    return node.inputs().at(input)->type()->kind() == c10::TypeKind::FloatType;
  };
  if (name == "aten::full") return floating(1);
  if (name == "aten::tensor" || name == "aten::scalar_tensor") return floating(0);
  if (name == "aten::arange") return floating(0) || (node.inputs().size() > 1 && floating(1));
  return false;
}

class Retargeter {
public:
  Retargeter(Graph& graph, const Target& target) : graph_(graph), target_(target) {}

  bool run() {
    visit(*graph_.block());
    return changed_;
  }

private:
  void visit(Block& block) {
    for (Node* node : block.nodes()) {
      for (Block* inner : node->blocks()) visit(*inner);
      if (node->kind() == torch::jit::prim::Constant) {
        move_constant(*node);
      } else if (target_.floating && node->maybeSchema()) {
        set_dtypes(*node);
      }
    }
  }

  void move_constant(Node& node) {
    const auto value = torch::jit::toIValue(node.output());
    if (!value) return;
    if (value->isDevice() && value->toDevice().type() != target_.device.type()) {
      replace(node, target_.device);
    } else if (value->isTensor() && value->toTensor().defined()) {
      const at::Tensor moved = convert(value->toTensor());
      if (!moved.is_same(value->toTensor())) replace(node, moved);
    }
  }

  // A tensor of no dimensions mixes with tensors of any device, so it is left where it is.
  at::Tensor convert(const at::Tensor& tensor) const {
    at::Tensor result = tensor;
    if (target_.floating && at::isFloatingType(tensor.scalar_type())) result = result.to(*target_.floating);
    return tensor.dim() > 0 ? result.to(target_.device) : result;
  }

  void set_dtypes(Node& node) {
    const auto& arguments = node.schema().arguments();
    for (std::size_t i = 0; i < arguments.size() && i < node.inputs().size(); ++i) {
      if (!is_dtype_argument(arguments[i])) continue;
      const auto value = torch::jit::toIValue(node.input(i));
      if (!value) continue;
      const bool floating_constant = value->isInt() && at::isFloatingType(static_cast<c10::ScalarType>(value->toInt()));
      const bool floating_default = value->isNone() && (is_floating_factory(node) || is_floating_from_value(node));
      if (floating_constant || floating_default) set_dtype(node, i);
    }
  }

  void set_dtype(Node& node, std::size_t input) {
    torch::jit::WithInsertPoint before(&node);
    node.replaceInput(input, graph_.insertConstant(static_cast<std::int64_t>(*target_.floating)));
    changed_ = true;
  }

  void replace(Node& node, const c10::IValue& value) {
    torch::jit::WithInsertPoint before(&node);
    node.output()->replaceAllUsesWith(graph_.insertConstant(value));
    changed_ = true;
  }

  Graph& graph_;
  const Target& target_;
  bool changed_ = false;
};

}  // namespace

std::shared_ptr<Graph> retarget(const Graph& graph, const Target& target) {
  // A copy of the handle is needed to copy a graph; the graph itself is only read.
  std::shared_ptr<Graph> copy = const_cast<Graph&>(graph).copy();
  torch::jit::Inline(*copy);
  return Retargeter(*copy, target).run() ? copy : nullptr;
}

}  // namespace flashconvert::verify
