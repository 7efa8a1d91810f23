// Folding reparameterised weights: plan, carry out, report. docs/folding.md describes the steps.
#include "rewrite/fold.h"

#include <torch/csrc/jit/api/module.h>

#include "rewrite/module_types.h"
#include "rewrite/weights/plan.h"
#include "rewrite/weights/replace.h"

namespace flashconvert::rewrite {

FoldResult fold_weights(torch::jit::Module& root, const std::function<bool(const std::string& path)>& selected) {
  const at::NoGradGuard no_grad;
  weights::Plan plan = weights::plan_folds(root, selected);
  // Instances of one type share its code. Where some fold and others do not, each gets a type of its own.
  while (!plan.to_split.empty()) {
    for (const std::string& path : plan.to_split) specialise_type(root, path);
    plan = weights::plan_folds(root, selected);
  }
  FoldResult result;
  if (!plan.foldings.empty()) result.renamed = weights::carry_out(root, plan);
  result.entries = std::move(plan.entries);
  return result;
}

}  // namespace flashconvert::rewrite
