// The whole conversion, in order: load, fold, specialise, survey, rewrite, verify, save. One short pipeline function;
// the stages do the work. docs/decisions.md says why folding comes before the attention survey.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "report/report.h"
#include "survey/survey.h"
#include "verify/verify.h"

namespace flashconvert {

struct ConvertOptions {
  bool verify = false;
  bool revert_failing = false;
  bool bench = false;
  bool dry_run = false;
  bool fold = true;
  bool pack = true;
  bool linear = true;             // with the backend flash
  std::string dump_graphs;        // a folder for the code after each stage; empty: none
  std::vector<std::string> only;  // globs over module paths
  std::vector<std::string> skip;
  survey::Backend backend = survey::Backend::kFlash;
  verify::InputOptions inputs;
  verify::VerifyOptions verification;
  // Told that parity failed, with all that is known, before the search for the cause begins, which may take long.
  std::function<void(const report::Report&)> on_failed_parity = [](const report::Report&) {};
};

struct ConvertResult {
  report::Report report;
  bool parity_failed = false;  // nothing was written
};

// Called with the stage's name and the share of it that is done, 0 to 1.
using Progress = std::function<void(const std::string& stage, double share)>;

// Converts one checkpoint. `destination` is null for a dry run. Throws Error for everything a user can mend; a failed
// parity is not thrown but returned, with the report that says where.
ConvertResult convert(const checkpoint::Source& source, const checkpoint::Destination* destination,
                      const ConvertOptions& options, const Progress& progress);

}  // namespace flashconvert
