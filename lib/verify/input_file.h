// --inputs: values that torch.save wrote in Python, or pickle_save or a TorchScript container in C++.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "verify/binding.h"

namespace flashconvert::verify {

struct FileCase {
  std::string method = "forward";
  std::vector<GivenArgument> arguments;
  std::string where;  // "--inputs inputs.pt, case 2"
};

// A tensor (or anything else that is not a container) is one case with one argument; a tuple is one case; a dict of
// argument names is one case; a list is several cases, each one of these. A dict of method names holds the cases of
// each method. Tensors come to the CPU. Throws Error(kUsage) that says what the file is when it is none of these.
std::vector<FileCase> read_input_file(const std::string& path, const torch::jit::Module& module);

}  // namespace flashconvert::verify
