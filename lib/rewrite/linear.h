// Linear layers in float32: they call flashconvert::linear, which computes them on 16-bit tensor cores without losing
// accuracy (docs/operator.md). Weights, their keys and their values stay as they are, and are read at every call.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace flashconvert::rewrite {

// Its arguments, in order: input, weight, bias, activation.
inline constexpr const char* kLinearOperator = "flashconvert::linear";

// A layer with a weight of its own in float32, wherever in the model it is computed.
struct LinearLayer {
  std::string path;    // of the module that holds the weight
  std::string method;  // where it is computed first
  std::string form;    // how it is spelled there: "linear", "addmm", "matmul"
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::optional<std::string> reason;  // why it stays as it is
  std::string activation = "none";    // computed with it, somewhere at least
};

// One place where such a layer is computed, in one instance. `number` counts the places in a method.
struct LinearPlace {
  std::string path;           // of the module that holds the weight
  torch::jit::Module module;  // whose method it is
  std::string method;
  std::size_t number = 0;
};

// How the operator enters the graph of a method: `original` is what the model has, `converted` what the operator gives,
// used by nothing yet. Called once for all instances of a type.
using SpliceLinear = std::function<void(const std::string& method, std::size_t number, torch::jit::Value* original,
                                        torch::jit::Value* converted)>;

struct LinearOptions {
  // By the path of the module that holds the weight.
  std::function<bool(const std::string& path)> selected = [](const std::string&) { return true; };
  SpliceLinear splice = nullptr;  // in the place of what it replaces, unless given
};

struct LinearResult {
  std::vector<LinearLayer> layers;
  std::vector<LinearPlace> places;  // of the layers that call the operator now
};

// Changes `root` in place. Instances of a scripted type of which not all are selected get types of their own.
LinearResult rewrite_linear_layers(torch::jit::Module& root, const LinearOptions& options);

}  // namespace flashconvert::rewrite
