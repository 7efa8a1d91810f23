// Which values of a graph depend on what the method is given.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <unordered_map>

namespace flashconvert {

// Of one graph, which must not change while this lives.
class InputDependence {
public:
  // Whether an input other than `self` reaches the value.
  bool depends(torch::jit::Value* value);
  // The name of one input that the value depends on; empty: none.
  std::string input_of(torch::jit::Value* value);

private:
  torch::jit::Value* find(torch::jit::Value* value);
  torch::jit::Value* find_in_node(torch::jit::Node* node);
  std::unordered_map<const torch::jit::Node*, torch::jit::Value*> nodes_;
};

}  // namespace flashconvert
