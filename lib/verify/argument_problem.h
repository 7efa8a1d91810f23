// Why a model may have rejected the inputs that a user gave.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "verify/uses.h"

namespace flashconvert::verify {

// The first argument that cannot be right, what was expected and what was given; "" when none stands out. `traced` (may
// be null) are the example inputs that the checkpoint was traced with.
std::string argument_problem(const torch::jit::Module& module, const std::string& method,
                             const std::vector<c10::IValue>& arguments, const std::vector<InputUse>& uses,
                             const std::vector<c10::IValue>* traced);

}  // namespace flashconvert::verify
