// Which memory a value may share, and what writes to it. Unlike torch's alias analysis this looks into the methods that
// are called; what it cannot follow counts as written to.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "graph/attributes.h"

namespace flashconvert {

// The memory that a value may share: attributes, inputs, or tensors made in the same graph.
struct Base {
  enum class Kind { kCell, kInput, kLocal, kUnknown } kind = Kind::kUnknown;
  Cell cell;                               // kCell
  const torch::jit::Node* node = nullptr;  // kLocal: what made it
  std::size_t input = 0;                   // kInput: which one
  bool operator<(const Base& other) const {
    return std::tie(kind, cell, node, input) < std::tie(other.kind, other.cell, other.node, other.input);
  }
};
using CellOf = std::function<std::optional<Cell>(const torch::jit::Node* get_or_set_attr)>;
std::set<Base> bases(torch::jit::Value* value, const CellOf& cell_of);

// The arguments of a call of which its result may be a view: those that the callee may return; all, where it is
// unknown.
std::vector<torch::jit::Value*> returned_arguments(const torch::jit::Node* call);

// The inputs that an operator writes to, by its schema; for other objects than modules, setting an attribute counts.
std::vector<torch::jit::Value*> written_inputs(const torch::jit::Node* node);

// Whether an in-place operator may change the tensor after it was made: directly, through a view, or in a call.
bool is_written(const torch::jit::Value* value);

// Whether this use of a tensor leaves it as it is, and so do all uses of what may share its memory.
bool only_reads(const torch::jit::Use& use);

}  // namespace flashconvert
