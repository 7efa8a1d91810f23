// Small scripted modules for the tests of verification.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <map>
#include <string>

#include "checkpoint/checkpoint.h"
#include "verify/verify.h"

namespace flashconvert::verify::testing {

// A module with these parameters and the methods of `source`, in eval mode.
inline torch::jit::Module scripted(const std::string& source, const std::map<std::string, at::Tensor>& parameters = {},
                                   const std::map<std::string, at::Tensor>& buffers = {}) {
  torch::jit::Module module("model");
  for (const auto& [name, value] : parameters) module.register_parameter(name, value, /*is_buffer=*/false);
  for (const auto& [name, value] : buffers) module.register_buffer(name, value);
  module.define(source);
  module.eval();
  return module;
}

// A checkpoint that carries the shapes of `examples` as a trace does: meta tensors.
inline checkpoint::Checkpoint traced(torch::jit::Module module,
                                     std::map<std::string, std::vector<c10::IValue>> examples) {
  checkpoint::Checkpoint result;
  result.module = std::move(module);
  result.traced_inputs = std::move(examples);
  return result;
}

inline at::Tensor meta(const std::vector<std::int64_t>& sizes, c10::ScalarType type = at::kFloat) {
  return at::empty(sizes, at::TensorOptions(type).device(at::kMeta));
}

inline at::Tensor normal(const std::vector<std::int64_t>& sizes, std::uint64_t seed = 0) {
  at::manual_seed(seed);
  return at::randn(sizes);
}

inline Case one_case(std::vector<c10::IValue> arguments, const std::string& description = "test",
                     const std::string& method = "forward") {
  return {method, description, std::move(arguments)};
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace flashconvert::verify::testing
