// What a Verifier knows: the cases that the original accepts, what it answers, and what the answers are judged against.
#pragma once

#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <vector>

#include "verify/placed_module.h"
#include "verify/verify.h"

namespace flashconvert::verify {

// The result of one call, or why there is none.
struct Outcome {
  c10::IValue output;
  std::optional<std::string> error;
};

// The cases that the original accepts, with its outputs.
struct Originals {
  c10::Device device{c10::kCPU};
  std::vector<Case> cases;
  std::vector<Outcome> outcomes;
};

// What the outputs are judged against, for every case.
struct Reference {
  std::string description;
  Placement placement;  // how the original is evaluated for it
  std::vector<Outcome> outcomes;
  std::vector<Outcome> yardstick;  // empty: the original itself

  // Nothing wider could be evaluated: the original in its own dtype is the reference, and `placement` that of the
  // yardstick.
  bool is_original() const { return placement.perturbed; }
};

struct Verifier::Evaluated {
  torch::jit::Module original;
  Originals originals;
  Reference reference;
};

}  // namespace flashconvert::verify
