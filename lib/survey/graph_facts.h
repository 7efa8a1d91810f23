// What can be known of a graph's values without running the model: constants, ranks and sizes. Everything here reads
// only; "unknown" is an empty optional and never a guess.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "survey/handed_mask.h"

namespace flashconvert::survey {

// Evaluates values of one method's graph for one module instance.
class GraphFacts {
public:
  explicit GraphFacts(torch::jit::Module module) : module_(std::move(module)) {}

  // The value, when it depends on constants, non-tensor attributes, buffers and pure operators alone. Parameters are
  // not constants (they may be trained further). Sizes count when the dimension is known. Tensors above 4096 elements
  // are not evaluated.
  std::optional<c10::IValue> constant(torch::jit::Value* value) const;

  // As `constant`, as a number; a tensor of one element counts.
  std::optional<double> number(torch::jit::Value* value) const;
  std::optional<std::int64_t> integer(torch::jit::Value* value) const;
  std::optional<bool> boolean(torch::jit::Value* value) const;

  bool is_none(torch::jit::Value* value) const;  // known to be None

  // One element of a list of ints: the constant, or nothing. Negative indices count from the end.
  static std::vector<torch::jit::Value*> list_elements(torch::jit::Value* list);
  std::vector<std::optional<std::int64_t>> int_list(torch::jit::Value* list) const;

  // The number of dimensions, as far as views and permutations upstream tell.
  std::optional<std::int64_t> rank(torch::jit::Value* tensor) const;

  // The size of a dimension counted from the end (-1 is the last), as far as views and layers upstream tell.
  std::optional<std::int64_t> size_from_end(torch::jit::Value* tensor, std::int64_t dim) const;

  // The tensor that the value is at run time, when it is an attribute of the module (parameters count).
  std::optional<c10::IValue> attribute(torch::jit::Value* value) const;

  // The tensor that a value independent of the method's inputs has at run time, parameters included; for its shape.
  std::optional<at::Tensor> run(torch::jit::Value* value) const;
  std::optional<std::vector<std::int64_t>> shape(torch::jit::Value* value) const;

  // A tensor of no dimensions that is computed from sizes and constants, as traces spell numbers.
  bool is_size_number(torch::jit::Value* value) const;

  // Where a dimension comes from, through one operator that moves dimensions without changing their sizes.
  struct Dimension {
    torch::jit::Value* tensor = nullptr;
    std::int64_t dim = 0;  // from the end
  };
  std::optional<Dimension> source_dimension(torch::jit::Value* tensor, std::int64_t dim) const;

  // Follows a dimension (counted from the end) up through transposes and elementwise operators to the view that made
  // it: its place there, counted from the end.
  std::optional<std::int64_t> dim_in_view(torch::jit::Value* tensor, std::int64_t dim) const;

  // A name for a size, by where it comes from: two sizes of one name are equal in every run. `size` is an int, or a
  // tensor of no dimensions as traces have them; a constant's name is its digits. `dim` counts from the end, or from
  // the front where it is not negative.
  std::string size_name(torch::jit::Value* size) const;
  std::string size_name(torch::jit::Value* tensor, std::int64_t dim) const;

  // No input of the method and no call that sees one reaches the value.
  bool is_independent_of_inputs(torch::jit::Value* value) const;

  // What callers promise of an input of the method, and what is known by it of a mask.
  void promise(torch::jit::Value* input, HandedMask mask) { handed_masks_[input] = mask; }
  std::optional<HandedMask> handed_mask(torch::jit::Value* mask) const;

  const torch::jit::Module& module() const { return module_; }

private:
  Dimension size_origin(torch::jit::Value* tensor, std::int64_t dim) const;
  std::optional<Dimension> size_origin_of_call(torch::jit::Node* call, std::int64_t dim) const;
  bool is_square_projection(torch::jit::Node* node) const;
  std::optional<Dimension> inferred_length(torch::jit::Node* view, std::int64_t dim) const;
  std::optional<std::int64_t> size_of_part(torch::jit::Node* split, std::int64_t dim) const;
  struct Limits {
    bool parameters = false;       // parameters, and calls of submodules that see no input, count as known
    std::int64_t elements = 4096;  // of the largest tensor
  };
  std::optional<c10::IValue> evaluate(torch::jit::Value* value, int depth, Limits limits) const;
  torch::jit::Module module_;
  std::unordered_map<torch::jit::Value*, HandedMask> handed_masks_;
};

// A dimension argument counted from the end: -1 for the last. Needs the rank for a non-negative argument.
std::optional<std::int64_t> dim_from_end(std::int64_t dim, std::optional<std::int64_t> rank);

// The name of the operator without its overload, "aten::matmul"; also for prim nodes.
std::string kind_name(const torch::jit::Node* node);
bool is_any_of(const torch::jit::Node* node, std::initializer_list<const char*> names);

bool is_tensor(const torch::jit::Value* value);
bool is_softmax(const torch::jit::Node* node);

// Operators whose result has the shape of their first input.
bool keeps_shape(const torch::jit::Node* node);

// Whether the operator takes no more than the dtype and device of the operand at this place.
bool takes_dtype_alone(const torch::jit::Node* node, std::size_t operand);

// The one output of the method that a call runs; null where it has several, or no graph.
torch::jit::Value* only_result(const torch::jit::Node* call);

// Names that scripting and tracing give a module: "__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear" is of
// class "torch.nn.modules.linear.Linear".
std::string class_name(const c10::TypePtr& type);

}  // namespace flashconvert::survey
