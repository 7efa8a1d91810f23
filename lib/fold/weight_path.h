// The path of one weight: the part of a method's code, calls inlined and branches taken as in eval mode, that computes
// it from the attributes of one module instance.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fold/layers.h"
#include "graph/graph_facts.h"

namespace flashconvert::fold {

struct WeightPath {
  std::shared_ptr<torch::jit::Graph> graph;  // self -> weight; null when refused
  torch::jit::Module self;                   // the instance that it runs on
  std::set<Cell> reads;                      // owners are objects
  std::set<Cell> writes;
  std::set<std::int64_t> writers;      // ids of the nodes that do (state_writers.h)
  std::set<const void*> objects;       // every module object that it reads or writes something of
  bool transforms = false;             // it does arithmetic: a reparameterised weight
  std::optional<std::string> refusal;  // why the weight cannot be known before the model runs
};

// Follows the weight at `operand` of `graph`, a method of `self`. Branches on `mutable_attributes` are not taken. Reads
// only.
WeightPath follow_weight(const torch::jit::Module& self, torch::jit::Graph& graph, const Operand& operand,
                         const MutableAttributes& mutable_attributes);

}  // namespace flashconvert::fold
