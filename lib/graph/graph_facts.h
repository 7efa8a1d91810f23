// What can be known of a graph's values without running the model: constants, ranks and sizes. Everything here reads
// only; "unknown" is an empty optional and never a guess. Answers are remembered: a graph may gain nodes while this
// lives, but none whose values were asked about may change.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/attributes.h"
#include "graph/operators.h"
#include "graph/symbolic_size.h"

namespace flashconvert {

// The attributes that some code of the model sets, replaces, or writes into (owners are types): no constants.
using MutableAttributes = std::set<Cell>;

// Evaluates values of one method's graph for one module instance.
class GraphFacts {
public:
  // `mutable_attributes` has to outlive this; null: none is known.
  explicit GraphFacts(torch::jit::Module module, const MutableAttributes* mutable_attributes = nullptr)
      : module_(std::move(module)), mutable_attributes_(mutable_attributes) {}

  // The value, when it depends on constants, non-tensor attributes, buffers and pure operators alone. Parameters are
  // not constants (they may be trained further), and neither is what the model's code changes. Sizes count when the
  // dimension is known. Tensors above 4096 elements are not evaluated.
  std::optional<c10::IValue> constant(torch::jit::Value* value) const;

  // As `constant`, as a number; a tensor of one element counts.
  std::optional<double> number(torch::jit::Value* value) const;
  std::optional<std::int64_t> integer(torch::jit::Value* value) const;
  std::optional<bool> boolean(torch::jit::Value* value) const;

  bool is_none(torch::jit::Value* value) const;  // known to be None

  // What a condition is in every run, from constants and attributes that are no tensors alone: what a size is, or what
  // is stored in a buffer, belongs to the inputs and the weights, not to the code.
  std::optional<bool> condition(torch::jit::Value* value) const;

  // One element of a list of ints: the constant, or nothing. Negative indices count from the end.
  static std::vector<torch::jit::Value*> list_elements(torch::jit::Value* list);
  std::vector<std::optional<std::int64_t>> int_list(torch::jit::Value* list) const;

  // The number of dimensions, as far as views and permutations upstream tell.
  std::optional<std::int64_t> rank(torch::jit::Value* tensor) const;

  // The size of a dimension (-1 is the last; counted from the front where it is not negative), by where it comes from:
  // equal sizes are equal in every run. What is not known of it is a symbol.
  SymbolicSize size(torch::jit::Value* tensor, std::int64_t dim) const;

  // An int, or a tensor of no dimensions as traces have them, likewise.
  SymbolicSize size_value(torch::jit::Value* number) const;

  // The size where it is a constant.
  std::optional<std::int64_t> size_from_end(torch::jit::Value* tensor, std::int64_t dim) const;

  // The attribute of the module that the value is at run time (parameters count), where no code of the model changes
  // it.
  std::optional<c10::IValue> attribute(torch::jit::Value* value) const;

  // The tensor that a value independent of the method's inputs has at run time, parameters included; for its shape.
  std::optional<at::Tensor> run(torch::jit::Value* value) const;
  std::optional<std::vector<std::int64_t>> shape(torch::jit::Value* value) const;

  // A tensor of no dimensions that is computed from sizes and constants, as traces spell numbers.
  bool is_size_number(torch::jit::Value* value) const;

  // Follows a dimension (counted from the end) up through transposes and elementwise operators to the view that made
  // it: its place there, counted from the end.
  std::optional<std::int64_t> dim_in_view(torch::jit::Value* tensor, std::int64_t dim) const;

  // No input of the method and no call that sees one reaches the value.
  bool is_independent_of_inputs(torch::jit::Value* value) const;

  const torch::jit::Module& module() const { return module_; }
  const MutableAttributes* mutable_attributes() const { return mutable_attributes_; }

private:
  // A dimension of a tensor, counted from the end.
  struct TensorDim {
    torch::jit::Value* tensor = nullptr;
    std::int64_t dim = 0;
  };
  // Where a dimension comes from, through one operator that moves dimensions without changing their sizes.
  std::optional<TensorDim> source_dimension(torch::jit::Value* tensor, std::int64_t dim) const;
  std::optional<TensorDim> source_of_permuted(torch::jit::Node* node, std::int64_t dim) const;
  std::optional<std::int64_t> argument_from_end(torch::jit::Value* argument, torch::jit::Value* of) const;

  std::optional<std::int64_t> find_rank(torch::jit::Value* tensor) const;
  std::optional<std::int64_t> rank_of_broadcast(torch::jit::Node* node) const;
  std::optional<std::int64_t> rank_of_indexed(torch::jit::Node* node) const;

  SymbolicSize find_size(torch::jit::Value* tensor, std::int64_t dim) const;
  std::optional<SymbolicSize> size_in_view(torch::jit::Node* node, std::int64_t dim) const;
  std::optional<SymbolicSize> size_of_broadcast(torch::jit::Node* node, std::int64_t dim) const;
  std::optional<SymbolicSize> size_of_product(torch::jit::Node* node, std::int64_t dim) const;
  std::optional<SymbolicSize> size_of_joined(torch::jit::Node* node, std::int64_t dim) const;
  std::optional<SymbolicSize> size_of_part(torch::jit::Value* part, std::int64_t dim) const;
  std::optional<SymbolicSize> size_of_result(torch::jit::Node* call, std::int64_t dim) const;
  std::optional<SymbolicSize> size_of_new_tensor(torch::jit::Node* node, std::int64_t dim) const;
  std::optional<SymbolicSize> inferred_length(torch::jit::Node* view, std::int64_t dim) const;
  bool is_square_projection(torch::jit::Node* node) const;
  SizeFacts size_facts() const;

  struct Limits {
    bool parameters = false;       // parameters, and calls of submodules that see no input, count as known
    bool tensors = true;           // buffers, and sizes
    std::int64_t elements = 4096;  // of the largest tensor
  };
  std::optional<c10::IValue> evaluate(torch::jit::Value* value, int depth, Limits limits) const;
  std::optional<c10::IValue> evaluate_new(torch::jit::Value* value, int depth, Limits limits) const;
  std::optional<c10::IValue> evaluate_attribute(torch::jit::Value* value, Limits limits) const;
  std::optional<c10::IValue> evaluate_size(torch::jit::Node* node, int depth, Limits limits) const;
  std::optional<c10::IValue> evaluate_list(torch::jit::Value* value, int depth, Limits limits) const;
  std::optional<c10::IValue> evaluate_call(torch::jit::Node* call, int depth, Limits limits) const;
  std::optional<c10::IValue> evaluate_operator(torch::jit::Node* node, int depth, Limits limits) const;
  const GraphFacts& facts_of(const c10::intrusive_ptr<c10::ivalue::Object>& object) const;

  static constexpr int kDeepest = 400;  // operators above a tensor that are looked through at once

  // A value by its address and its number in the graph, since addresses of destroyed values come again.
  using Key = std::pair<const torch::jit::Value*, std::size_t>;
  static Key key_of(const torch::jit::Value* value) { return {value, value->unique()}; }

  torch::jit::Module module_;
  const MutableAttributes* mutable_attributes_;
  mutable std::map<Key, std::optional<c10::IValue>> constants_;
  mutable std::map<Key, std::optional<std::int64_t>> ranks_;
  mutable std::map<std::pair<Key, std::int64_t>, SymbolicSize> sizes_;
  mutable std::map<Key, SymbolicSize> numbers_;
  mutable std::set<Key> independent_;
  mutable std::unordered_map<const void*, std::unique_ptr<GraphFacts>> callees_;
  mutable int depth_ = 0;           // of the recursion over sizes and ranks
  mutable bool cut_short_ = false;  // an answer was given up for its depth: it is not remembered
};

// A dimension argument counted from the end: -1 for the last. Needs the rank for a non-negative argument.
std::optional<std::int64_t> dim_from_end(std::int64_t dim, std::optional<std::int64_t> rank);

bool is_tensor(const torch::jit::Value* value);

// Names that scripting and tracing give a module: "__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear" is of
// class "torch.nn.modules.linear.Linear".
std::string class_name(const c10::TypePtr& type);

}  // namespace flashconvert
