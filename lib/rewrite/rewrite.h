// The rewrite: the only stage that changes a module's attention. Takes the survey's proposals, replaces each site by
// its fused form, and deepens it to a FusedAttention submodule where that is exact.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <vector>

#include "report/report.h"
#include "survey/survey.h"

namespace flashconvert::rewrite {

struct RewriteOptions {
  bool pack = true;  // --no-pack: separate projections stay separate
  survey::Backend backend = survey::Backend::kFlash;
};

struct RewriteResult {
  std::vector<report::AttentionEntry> entries;  // the survey's, with `depth` and `packed` as they came out
  std::vector<report::Rename> renamed;          // state_dict keys, old to new
};

// Changes `root` in place. Scripted instances that share a type are edited once when they agree, and the type is cloned
// for those that differ.
RewriteResult rewrite_attention(torch::jit::Module& root, survey::Survey survey, const RewriteOptions& options);

}  // namespace flashconvert::rewrite
