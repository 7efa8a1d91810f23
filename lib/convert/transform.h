// The stages between loading and verifying, in order: fold, specialise methods, survey, rewrite, linear layers. They
// run again for each trial that looks for the sites behind a failed parity, and, with both forms of a site side by
// side, for the comparison of sites.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <string>
#include <vector>

#include "convert/convert.h"
#include "report/report.h"
#include "rewrite/rewrite.h"
#include "survey/survey.h"

namespace flashconvert {

// What may be changed, by module path.
struct Selection {
  std::function<bool(const std::string& path)> attention;
  std::function<bool(const std::string& path)> weights;
  std::function<bool(const std::string& path)> linear;
};

// What the options select.
Selection selected_by(const ConvertOptions& options);

// Whether linear layers are converted at all.
bool converts_linear_layers(const ConvertOptions& options);

struct Transformed {
  std::vector<report::AttentionEntry> attention;
  std::vector<report::FoldEntry> folded;
  std::vector<report::LinearEntry> linear;
  std::vector<report::Rename> renamed;
  survey::Survey survey;  // what became of each site; empty after an ordinary conversion
  std::vector<rewrite::LinearPlace> linear_places;
  double survey_seconds = 0;
  double rewrite_seconds = 0;
};

// Changes `module` in place.
Transformed transform(torch::jit::Module& module, const Selection& selection, const ConvertOptions& options,
                      const rewrite::RewriteOptions& rewriting, const Progress& progress);

// An ordinary conversion.
Transformed transform(torch::jit::Module& module, const Selection& selection, const ConvertOptions& options,
                      const Progress& progress);

}  // namespace flashconvert
