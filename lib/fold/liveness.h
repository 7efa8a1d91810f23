// What of a model still matters when some values are no longer needed: which code runs to an effect or a result, which
// attributes that code reads. Attributes are memory cells here: a write to one matters when something reads it.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fold/layers.h"
#include "graph/input_dependence.h"
#include "graph/module_index.h"

namespace flashconvert::fold {

class Liveness {
public:
  // Marks everything that the methods of a checkpoint can do. Methods of submodules count when something live calls
  // them, or when nothing in the model does (somebody outside may). `cut` operands are not followed; a write to one of
  // the `private_cells` (owners are types) matters only when live code reads the cell, any other write always.
  Liveness(const ModuleIndex& index, const std::set<Operand>& cut, const std::set<Cell>& private_cells);

  bool is_live(const torch::jit::Node* node) const { return nodes_.count(node) != 0; }
  bool is_live(const torch::jit::Function* method) const { return functions_.count(method) != 0; }
  bool reads(const Cell& cell) const { return read_.count(cell) != 0; }

private:
  // What calling a function does beside returning a value.
  struct Effects {
    bool observable = false;        // prints, raises depending on an input, writes what somebody else may see
    std::set<Cell> cells;           // private cells that it writes
    bool writes_inputs = false;     // of the method that it stands in
    bool writes_arguments = false;  // of the call that it is
  };

  void find_roots(const ModuleIndex& index);
  const Effects& effects_of(torch::jit::GraphFunction* function);
  Effects effects_of(torch::jit::Node* node);
  void mark_function(torch::jit::Function* function);
  void mark_node(torch::jit::Node* node);
  void mark_value(torch::jit::Value* value);
  void mark_cell(const Cell& cell);
  void await(torch::jit::Node* node);
  void drain();
  bool raises_on_input(torch::jit::Node* raise);

  const std::set<Operand>& cut_;
  const std::set<Cell>& private_cells_;
  std::vector<std::function<void()>> work_;  // instead of recursion: graphs are deep
  std::unordered_set<const torch::jit::Node*> nodes_;
  std::unordered_set<const torch::jit::Value*> branch_results_;
  std::unordered_set<const torch::jit::Function*> functions_;
  std::set<Cell> read_;
  std::map<Cell, std::vector<torch::jit::Node*>> writers_;                                // waiting for a reader
  std::unordered_map<const torch::jit::Node*, std::vector<torch::jit::Node*>> mutators_;  // of what the key made
  std::unordered_map<torch::jit::GraphFunction*, Effects> effects_;
  std::unordered_map<const torch::jit::Graph*, InputDependence> dependence_;
};

}  // namespace flashconvert::fold
