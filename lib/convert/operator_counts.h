// Counts of the operators that a module's methods call, for the before-and-after table and the list of custom
// operators.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace flashconvert {

// Operator name ("aten::softmax") to the number of its nodes over every method of every module instance. Sizes,
// constants and other prim nodes are left out.
std::map<std::string, std::int64_t> count_operators(const torch::jit::Module& root);

// Of these, the ones from outside torch: they need a library.
std::vector<std::string> custom_operators(const std::map<std::string, std::int64_t>& counts);

}  // namespace flashconvert
