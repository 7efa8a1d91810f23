// What a TorchScript checkpoint holds, as values: for people (flashconvert inspect, diff) and for programs. Reads only.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::checkpoint {
class Source;
}

namespace flashconvert::inspect {

struct TensorFacts {
  std::string name;  // within its module
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string device;  // where it was when the checkpoint was saved
  std::int64_t bytes = 0;
  bool is_parameter = false;
  std::uint64_t content = 0;  // a hash of the values
};

struct ModuleFacts {
  std::string path;                  // "" is the root
  std::string type;                  // "torch.nn.modules.linear.Linear", without the numbers that tell instances apart
  std::vector<TensorFacts> tensors;  // its own
  std::vector<std::pair<std::string, std::string>> methods;  // name and code as Python, in order
  std::int64_t bytes = 0;  // of its tensors and those below it; shared ones count once
};

struct MethodFacts {
  std::string name;
  std::string schema;               // "(Tensor x, Tensor? mask=None) -> Tensor"
  std::vector<std::string> inputs;  // that torch.jit.trace recorded: "x: float32[2, 5, 16]"
};

struct Inspection {
  report::Report plan;               // the file, its operators, and what a conversion would do with it
  std::vector<MethodFacts> methods;  // of the root
  std::vector<ModuleFacts> modules;  // each after the one around it
  std::map<std::string, std::int64_t> devices_in_code;  // "cuda:0" to the number of places that name it
};

// What the file holds, without the plan's attention and weights. Throws Error(kInput) for what is no TorchScript
// checkpoint.
Inspection contents(const checkpoint::Source& source);

// With them, by a dry run.
Inspection inspect(const checkpoint::Source& source);

}  // namespace flashconvert::inspect
