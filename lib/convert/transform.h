// Fold, survey and rewrite one loaded checkpoint: what `convert` does between loading and verifying, and again for each
// trial that looks for the sites behind a failed parity.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <string>
#include <vector>

#include "convert/convert.h"
#include "report/report.h"

namespace flashconvert {

// What may be changed, by module path.
struct Selection {
  std::function<bool(const std::string& path)> attention;
  std::function<bool(const std::string& path)> weights;
};

// What the options select.
Selection selected_by(const ConvertOptions& options);

struct Transformed {
  std::vector<report::AttentionEntry> attention;
  std::vector<report::FoldEntry> folded;
  std::vector<report::Rename> renamed;
  double survey_seconds = 0;
  double rewrite_seconds = 0;
};

// Changes `module` in place.
Transformed transform(torch::jit::Module& module, const Selection& selection, const ConvertOptions& options,
                      const Progress& progress);

}  // namespace flashconvert
