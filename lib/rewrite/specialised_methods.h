// Causal masks that are built outside and handed down to attention, through any number of submodules. What a submodule
// may rely on is known of the calls inside the model alone; whoever calls it from outside may give it any mask. So the
// method that takes the mask keeps its meaning, and the calls that hand down such a mask go to a specialised copy of
// it: `forward_causal` beside `forward`.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

#include "graph/module_index.h"
#include "survey/assumed_mask.h"
#include "survey/survey.h"

namespace flashconvert::rewrite {

// A method that relies on the mask that it is given, beside the one that it was made from.
struct SpecialisedMethod {
  c10::ClassTypePtr type;
  std::string method;  // that it was made from
  std::string name;
};

struct SpecialisedMethods {
  std::vector<SpecialisedMethod> methods;  // those that another one calls stand before it
  survey::AssumedMasks masks;              // what they may rely on
};

// The stage before the survey: adds specialised methods to the types of the checkpoint, and has the calls that may go
// to them. Only types with a single instance make masks that others rely on, since a mask may be made of its buffers.
SpecialisedMethods specialise_methods(const ModuleIndex& index);

// Takes back those whose attention is not better for it, in the module and in its survey; marks the others in the
// survey as what they are, and sites of methods that run no more, since a specialised copy does, as reported elsewhere.
void keep_useful_methods(const torch::jit::Module& root, const SpecialisedMethods& specialised, survey::Survey& survey);

}  // namespace flashconvert::rewrite
