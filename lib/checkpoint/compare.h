// Is one module the same as another, bit for bit? Used on what was saved and what was loaded from the file.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <optional>
#include <string>

#include "checkpoint/compare_bytes.h"

namespace flashconvert::checkpoint {

// Says whether two tensors that are the same otherwise belong to the same device. `path` is that of the attribute which
// holds them.
using SameDevice = std::function<bool(const at::Tensor& first, const at::Tensor& second, const std::string& path)>;

// Compares methods with their schemas, attributes with their types and values, and which tensors share memory. Empty
// when both are the same; else the first difference, by path: "encoder.weight: 3 of 1024 bytes differ".
// Type names may differ in what LibTorch puts in to tell equal names apart ("___torch_mangle_3").
std::optional<std::string> find_difference(const torch::jit::Module& first, const torch::jit::Module& second,
                                           const Compared& compared = {}, const SameDevice& same_device = {});

}  // namespace flashconvert::checkpoint
