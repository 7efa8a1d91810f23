// Folding reparameterised weights: any weight that a linear or convolution layer takes from a subgraph which depends on
// parameters, buffers and constants alone is evaluated once, by running the checkpoint's own weight path on a copy, and
// stored as a plain `weight` of the layer (docs/folding.md).
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <string>
#include <vector>

#include "report/report.h"

namespace flashconvert::fold {

struct FoldResult {
  std::vector<report::FoldEntry> entries;  // in the order of the module tree; declined ones with their reason
  std::vector<report::Rename> renamed;     // state_dict keys, old to new
};

// Finds and folds in place every reparameterised weight of `root`. `selected(path)` says whether the layer at a module
// path may be folded (--only, --skip, --no-fold): one that may not is listed as declined. Layers that cannot be folded
// exactly (random, input-dependent, a state that something else reads) are left as they are and named.
FoldResult fold_weights(torch::jit::Module& root, const std::function<bool(const std::string& path)>& selected);

}  // namespace flashconvert::fold
