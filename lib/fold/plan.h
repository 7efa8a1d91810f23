// The plan of a fold: which weights of which layers, with their values, before anything is changed.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fold/evaluate.h"
#include "fold/layers.h"
#include "fold/liveness.h"
#include "fold/weight_path.h"
#include "graph/module_index.h"
#include "report/report.h"

namespace flashconvert::fold {

// The weight of one layer instance.
struct PlannedWeight {
  torch::jit::Module layer;
  WeightPath path;
  at::Tensor value;
  report::FoldEntry entry;
};

// Where a method receives the weight from its callers.
struct PassedWeight {
  std::string method;
  torch::jit::Value* argument = nullptr;
};

// One weight of a type, in all its instances: code is edited once for them. A layer that a trace met twice takes it in
// several methods (`forward`, `forward1`).
struct Folding {
  c10::ClassTypePtr type;
  std::vector<Operand> operands;       // of layers
  std::vector<PassedWeight> passed;    // where it comes in as an argument, and has to go from the calls
  std::vector<Operand> taken;          // what no longer needs the path: operands of layers, or of calls that pass it in
  std::vector<PlannedWeight> weights;  // one an instance
  std::string attribute;               // where the layer keeps it: "weight", unless that is taken
  std::vector<Operand> bias;           // a bias inside what the weight's path leaves behind, to be moved to the layer
};

struct Plan {
  std::vector<Folding> foldings;
  std::vector<report::FoldEntry> entries;  // every one, folded and declined, in the order of the module tree
  std::vector<std::string> to_split;       // instances that need types of their own before anything can be planned
  std::set<Operand> cut;                   // operands that no longer need what they took
  std::set<Cell> cells;                    // what the paths read and write (owners are types)
};

// Finds, evaluates and judges every reparameterised weight of a checkpoint. Reads only.
Plan plan_folds(const ModuleIndex& index, const std::function<bool(const std::string& path)>& selected);

}  // namespace flashconvert::fold
