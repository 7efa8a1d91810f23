// Where a folded layer keeps its weight and bias.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include "fold/plan.h"

namespace flashconvert::fold {

// Fills in `attribute` and `bias` of the plan's foldings, and adds the moved biases to `cut` and `cells`. A layer that
// has one weight keeps it as `weight`, and the bias of what it wraps as `bias`; one that has several names each after
// its raw parameter. A name that live code uses for something else is not taken.
void name_weights(const ModuleIndex& index, Plan& plan);

}  // namespace flashconvert::fold
