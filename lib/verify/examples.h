// Where the inputs of verification come from: --inputs, --input-spec, and what the checkpoint carries.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "verify/verify.h"

namespace flashconvert::verify {

// The arguments of one call, not tried yet. Meta tensors stand for values that are to be drawn.
struct Example {
  std::string method;
  std::vector<c10::IValue> arguments;
  std::string origin;   // "traced shape", "bundled input 2": for the description of the case
  bool given = false;   // by the user: a model that rejects it is the user's to mend
  bool traced = false;  // by torch.jit.trace, which records keyword arguments in the caller's order
};

// The examples of every method that has any; a source that is earlier in the list above is preferred for its methods.
// Throws Error(kUsage) for wrong specs and files, and when there is no example at all.
std::vector<Example> collect_examples(const checkpoint::Checkpoint& checkpoint, const InputOptions& options);

}  // namespace flashconvert::verify
