// Carrying out a plan: layers get their weights as plain parameters, and what only computed them goes.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <vector>

#include "fold/plan.h"
#include "report/report.h"

namespace flashconvert::fold {

// Changes `root` in place. Returns the state_dict keys that went or got a new value, old to new. Code that nothing
// calls any more, writes that nothing reads any more and attributes that no code mentions any more are removed, as far
// as the plan's paths used them.
std::vector<report::Rename> carry_out(torch::jit::Module& root, Plan& plan);

}  // namespace flashconvert::fold
