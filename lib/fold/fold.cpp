// Folding reparameterised weights: plan, carry out, report. docs/folding.md describes the steps.
#include "fold/fold.h"

#include <torch/csrc/jit/api/module.h>

#include "fold/plan.h"
#include "fold/replace.h"
#include "graph/module_types.h"

namespace flashconvert::fold {

FoldResult fold_weights(torch::jit::Module& root, const std::function<bool(const std::string& path)>& selected) {
  const at::NoGradGuard no_grad;
  Plan plan = plan_folds(ModuleIndex(root), selected);
  // Instances of one type share its code. Where some fold and others do not, each gets a type of its own.
  while (!plan.to_split.empty()) {
    for (const std::string& path : plan.to_split) specialise_type(root, path);
    plan = plan_folds(ModuleIndex(root), selected);
  }
  FoldResult result;
  if (!plan.foldings.empty()) result.renamed = carry_out(root, plan);
  result.entries = std::move(plan.entries);
  return result;
}

}  // namespace flashconvert::fold
