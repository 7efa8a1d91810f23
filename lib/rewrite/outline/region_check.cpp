// The last check before a region of a graph becomes a module.
#include "rewrite/outline/region_check.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "graph/operators.h"
#include "graph/same_graph.h"
#include "graph/views.h"
#include "survey/strides.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

// The tensor from which a projection's input is taken by operators that keep its sizes, up to a transpose of the first
// two dimensions: the region may ask either for its sizes.
struct InputRoot {
  Value* value = nullptr;
  bool swapped = false;
};

InputRoot root_of_input(Value* input) {
  InputRoot root{input, false};
  for (;;) {
    Node* node = root.value->node();
    if (has_trait(node, kKeepsSizes)) {
      root.value = node->input(0);
      continue;
    }
    if (node->kind() != c10::aten::transpose) return root;
    const auto first = literal_int(node->input(1));
    const auto second = literal_int(node->input(2));
    if (!first || !second || std::minmax(*first, *second) != std::minmax<std::int64_t>(0, 1)) return root;
    root = {node->input(0), !root.swapped};
  }
}

// A graph of its own that computes the region's result, and the projections' inputs, from self, the roots and the bias.
class PieceBuilder {
public:
  PieceBuilder(const FusedRegion& region, const std::array<InputRoot, 3>& roots) : graph_(std::make_shared<Graph>()) {
    add_input(region.attention->owningGraph()->inputs()[0]);
    for (const InputRoot& root : roots) add_input(root.value);
    if (region.bias != nullptr) add_input(region.bias);
    graph_->registerOutput(copy(region.end));
    for (std::size_t operand = 0; operand < 3; ++operand) graph_->registerOutput(copy(region.input(operand)));
  }

  // Null where the region needs something else besides.
  std::shared_ptr<Graph> graph() const { return complete_ ? graph_ : nullptr; }
  // The values of the original graph behind the inputs, in order.
  const std::vector<Value*>& inputs() const { return inputs_; }

private:
  void add_input(Value* value) {
    if (copies_.count(value) != 0) return;
    copies_[value] = graph_->addInput()->setType(value->type());
    inputs_.push_back(value);
  }

  Value* copy(Value* value) {
    const auto known = copies_.find(value);
    if (known != copies_.end()) return known->second;
    Node* node = value->node();
    if (node->kind() == c10::prim::Param || !node->blocks().empty()) {
      complete_ = false;
      return graph_->insertConstant(0);
    }
    std::vector<Value*> operands;
    for (Value* operand : node->inputs()) operands.push_back(copy(operand));
    std::size_t next = 0;
    Node* clone = graph_->insertNode(graph_->createClone(node, [&](Value*) { return operands[next++]; }));
    for (std::size_t i = 0; i < node->outputs().size(); ++i) copies_[node->outputs()[i]] = clone->outputs()[i];
    return copies_.at(value);
  }

  std::shared_ptr<Graph> graph_;
  std::unordered_map<Value*, Value*> copies_;
  std::vector<Value*> inputs_;
  bool complete_ = true;
};

struct Lengths {
  std::int64_t batch;
  std::int64_t query;
  std::int64_t key;
};

// Draws the inputs of a piece, equal values once.
class InputMaker {
public:
  InputMaker(const FusedRegion& region, const std::array<InputRoot, 3>& roots, Lengths lengths, bool has_bias,
             at::TensorOptions options)
      : options_(options), generator_(at::make_generator<at::CPUGeneratorImpl>(kSeed)) {
    for (std::size_t operand = 0; operand < 3; ++operand) {
      const std::int64_t length = roots[operand].value == roots[0].value ? lengths.query : lengths.key;
      const bool batch_first = region.batch_first != roots[operand].swapped;
      const std::int64_t features = region.operands[operand].projection.in_features;
      if (inputs_.count(roots[operand].value) != 0) continue;
      inputs_[roots[operand].value] =
          batch_first ? draw({lengths.batch, length, features}) : draw({length, lengths.batch, features});
    }
    const std::int64_t keys = roots[1].value == roots[0].value ? lengths.query : lengths.key;
    if (region.bias != nullptr && has_bias) {
      inputs_[region.bias] = draw({lengths.batch, region.operands[0].heads, lengths.query, keys});
    }
  }

  // None for the bias, where it is left out.
  c10::IValue of(Value* value) const {
    const auto found = inputs_.find(value);
    return found == inputs_.end() ? c10::IValue() : c10::IValue(found->second);
  }

private:
  static constexpr std::uint64_t kSeed = 20;

  // The same numbers in every run, whatever the process draws besides.
  at::Tensor draw(at::IntArrayRef sizes) { return at::randn(sizes, generator_, at::kFloat).to(options_); }

  at::TensorOptions options_;
  at::Generator generator_;
  std::unordered_map<Value*, at::Tensor> inputs_;
};

double tolerance(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return 1e-10;
    case at::kFloat:
      return 1e-4;
    default:
      return 5e-2;
  }
}

std::optional<std::string> disagreement(const at::Tensor& expected, const at::Tensor& actual) {
  if (expected.sizes() != actual.sizes()) return "the shapes differ";
  const at::Tensor reference = expected.to(at::kDouble);
  const at::Tensor difference = (reference - actual.to(at::kDouble)).abs().nan_to_num();
  if (!at::equal(expected.isnan(), actual.isnan())) return "the results are NaN in different places";
  if (reference.numel() == 0) return std::nullopt;
  const double scale = reference.nan_to_num().abs().max().item<double>();
  if (difference.max().item<double>() <= tolerance(expected.scalar_type()) * std::max(scale, 1e-6)) return std::nullopt;
  return "the results differ";
}

// Of dimensions of one element, a stride says nothing.
bool lie_alike(const at::Tensor& expected, const at::Tensor& actual) {
  for (std::int64_t dim = 0; dim < expected.dim(); ++dim) {
    if (expected.size(dim) > 1 && expected.stride(dim) != actual.stride(dim)) return false;
  }
  return true;
}

std::optional<std::string> check_shape(const FusedRegion& region, const std::array<InputRoot, 3>& roots,
                                       const PieceBuilder& piece, const torch::jit::Code& code, const Module& self,
                                       Module& fused, Lengths lengths, bool has_bias) {
  const at::Tensor weight = module_below(self, region.operands[0].projection.weight.holder)
                                .attr(region.operands[0].projection.weight.name)
                                .toTensor();
  const InputMaker inputs(region, roots, lengths, has_bias,
                          at::TensorOptions(weight.device()).dtype(weight.scalar_type()));
  torch::jit::Stack stack{self._ivalue()};
  for (std::size_t i = 1; i < piece.inputs().size(); ++i) stack.push_back(inputs.of(piece.inputs()[i]));
  torch::jit::InterpreterState(code).run(stack);

  std::vector<c10::IValue> arguments;
  std::vector<Value*> passed;
  for (std::size_t operand = 0; operand < 3; ++operand) {
    if (std::find(passed.begin(), passed.end(), region.input(operand)) != passed.end()) continue;
    passed.push_back(region.input(operand));
    arguments.push_back(stack.at(operand + 1));
  }
  if (region.bias != nullptr) arguments.push_back(inputs.of(region.bias));
  const at::Tensor expected = stack.at(0).toTensor();
  const at::Tensor actual = fused.forward(std::move(arguments)).toTensor();
  if (auto reason = disagreement(expected, actual)) return reason;
  if (survey::strides_matter(region.end) && !lie_alike(expected, actual))
    return "the results lie in memory differently";
  return std::nullopt;
}

std::shared_ptr<Graph> inlined(Graph& graph) {
  std::shared_ptr<Graph> copy = graph.copy();
  torch::jit::Inline(*copy);
  return copy;
}

}  // namespace

bool RegionCheck::has_checked(const Graphs& graphs) const {
  return std::any_of(checked_.begin(), checked_.end(), [&](const Graphs& known) {
    return same_graph_in_any_class(*known.region, *graphs.region) &&
           same_graph_in_any_class(*known.fused, *graphs.fused);
  });
}

std::optional<std::string> RegionCheck::against_region(const FusedRegion& region, const Module& self, Module& fused) {
  std::array<InputRoot, 3> roots;
  for (std::size_t operand = 0; operand < 3; ++operand) roots[operand] = root_of_input(region.input(operand));
  const PieceBuilder piece(region, roots);
  if (piece.graph() == nullptr) return "it needs more than its inputs";
  const at::NoGradGuard no_grad;
  try {
    const Graphs graphs{inlined(*piece.graph()), inlined(*fused.get_method("forward").graph())};
    const bool is_known = has_checked(graphs);
    const torch::jit::Code code(piece.graph(), "attention_region");
    for (const Lengths lengths : {Lengths{2, 3, 5}, Lengths{3, 4, 2}, Lengths{1, 1, 7}}) {
      if (auto reason = check_shape(region, roots, piece, code, self, fused, lengths, true)) return reason;
      if (is_known) return std::nullopt;
      if (region.bias == nullptr || region.bias->type()->kind() != c10::TypeKind::OptionalType) continue;
      if (auto reason = check_shape(region, roots, piece, code, self, fused, lengths, false)) return reason;
    }
    checked_.push_back(graphs);
  } catch (const std::exception& error) {
    return std::string("it does not run: ") + error.what();
  }
  return std::nullopt;
}

}  // namespace flashconvert::rewrite
