// A part of a method's graph as a graph of its own, to run on inputs of one's choosing.
#pragma once

#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <map>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "graph/graph_facts.h"

namespace flashconvert {

// Everything between the values given as inputs and the outputs is copied; tables and buffers become constants, those
// of floating point in `type`. Numbers that depend on what stands outside (sizes, mostly) become inputs too.
class Subgraph {
public:
  Subgraph(const GraphFacts& facts, at::ScalarType type);

  void add_input(torch::jit::Value* value);
  // A module that is called: a copy of it in `type`, given as an input.
  void add_layer(torch::jit::Value* layer);
  // `value` is to be factor * input, where `input` has been added.
  void define(torch::jit::Value* value, torch::jit::Value* input, double factor);
  // The number is to be an input even where it could be computed inside.
  void free_number(torch::jit::Value* number) { free_numbers_.insert(number); }
  // False when something that the value needs is no number and comes from outside.
  bool add_output(torch::jit::Value* value);

  // The inputs after the tensors, in order: modules, numbers.
  const std::vector<c10::IValue>& layers() const { return layers_; }
  const std::vector<torch::jit::Value*>& numbers() const { return numbers_; }
  bool casts_to_single() const { return casts_to_single_; }
  const std::shared_ptr<torch::jit::Graph>& graph() const { return graph_; }

  // The first `count` outputs. `arguments`: the module, the inputs in the order in which they were added, the modules,
  // the numbers. Throws what an operator throws.
  std::vector<at::Tensor> run(const std::vector<c10::IValue>& arguments, std::size_t count, bool gradients = false);

private:
  torch::jit::Value* clone(torch::jit::Value* value);
  torch::jit::Value* add_number(torch::jit::Value* value);
  void note_casts(const torch::jit::Node* node);

  const GraphFacts& facts_;
  at::ScalarType type_;
  std::shared_ptr<torch::jit::Graph> graph_;
  torch::jit::Value* self_ = nullptr;
  std::unordered_map<torch::jit::Value*, torch::jit::Value*> map_;
  std::unordered_set<torch::jit::Value*> failed_;
  std::unordered_set<torch::jit::Value*> free_numbers_;
  std::vector<torch::jit::Value*> numbers_;
  std::vector<c10::IValue> layers_;
  std::map<std::size_t, std::unique_ptr<torch::jit::Code>> code_;  // by the number of outputs
  bool casts_to_single_ = false;
};

}  // namespace flashconvert
