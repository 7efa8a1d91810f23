// Is one module the same as another, bit for bit? Used on what was saved and what was loaded from the file.
#pragma once

#include <torch/script.h>

#include <functional>
#include <optional>
#include <string>

namespace flashconvert::checkpoint {

// Called when a piece of the second module's tensors will not be looked at again, so that its memory may go.
using Release = std::function<void(const void* data, std::size_t size)>;

// Compares methods with their schemas, attributes with their types and values, and which tensors share memory. Empty
// when both are the same; else the first difference, by path: "encoder.weight: 3 of 1024 bytes differ".
// Type names may differ in what LibTorch puts in to tell equal names apart ("___torch_mangle_3").
std::optional<std::string> find_difference(const torch::jit::Module& first, const torch::jit::Module& second,
                                           const Release& release = {});

}  // namespace flashconvert::checkpoint
