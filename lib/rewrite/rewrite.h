// The rewrite: the only stage that changes a module's attention. Takes the survey's proposals, puts each site's fused
// form in its place, and outlines it to a FusedAttention submodule with its projections where that is exact.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <vector>

#include "report/report.h"
#include "rewrite/linear.h"
#include "rewrite/specialised_methods.h"
#include "survey/survey.h"

namespace flashconvert::rewrite {

struct RewriteOptions {
  bool outline = true;  // to FusedAttention modules
  bool pack = true;     // --no-pack: separate projections stay separate
  // How the proposals enter the working copy of a method. The usual way puts each in the place of what it replaces;
  // the comparison of sites has both forms run (convert/shown_sites.h).
  std::function<void(survey::MethodSurvey&)> splice = nullptr;
  SpliceLinear splice_linear = nullptr;  // likewise (linear.h)
};

struct RewriteResult {
  survey::Survey survey;                // as it was given, with what became of each site
  std::vector<report::Rename> renamed;  // state_dict keys, old to new
};

// Changes `root` in place; `specialised` are the methods that the stage before the survey has made. Scripted instances
// that share a type are edited once when they agree, and the type is cloned for those that differ.
RewriteResult rewrite_attention(torch::jit::Module& root, survey::Survey survey, const SpecialisedMethods& specialised,
                                const RewriteOptions& options);

}  // namespace flashconvert::rewrite
