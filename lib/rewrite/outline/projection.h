// Linear projections as graphs spell them: torch.linear, addmm, a matrix product plus a bias, on parameters of the
// module or of a submodule, or as the call of a layer that does nothing else (torch.nn.Linear, transformers' Conv1D).
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "rewrite/outline/layout.h"

namespace flashconvert::rewrite {

// Consecutive output features of a parameter.
struct ParameterRows {
  std::vector<std::string> holder;  // the module that has it: path from self
  std::string name;
  std::int64_t first = 0;
  std::int64_t count = 0;
  bool whole = true;
};

struct Projection {
  torch::jit::Value* output = nullptr;
  torch::jit::Value* input = nullptr;  // of three dimensions; views between it and the product are passed over
  ParameterRows weight;
  std::optional<ParameterRows> bias;
  bool transposed = false;  // the weight is stored [in, out]
  bool is_layer = false;    // the parameters are all that a submodule has: it goes as a whole
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::vector<torch::jit::Node*> nodes;  // the product, the bias' addition, views of the input
};

// The projection that gives `output`, or nothing. Its input gets a layout of two leading dimensions and the input
// features in `layouts` unless it has one, its output the same leading dimensions and the output features.
std::optional<Projection> match_projection(torch::jit::Value* output, const torch::jit::Module& self, Layouts& layouts);

}  // namespace flashconvert::rewrite
