// The pipeline (convert.h).
#include "convert/convert.h"

#include <torch/version.h>

#include "common/glob.h"
#include "convert/culprits.h"
#include "convert/operator_counts.h"
#include "convert/stopwatch.h"
#include "convert/transform.h"
#include "convert/version.h"

namespace flashconvert {

namespace {

Selection selected_by(const ConvertOptions& options) {
  const auto by_path = [&options](const std::string& path) { return path_selected(options.only, options.skip, path); };
  const auto weights = [&options, by_path](const std::string& path) { return options.fold && by_path(path); };
  return {by_path, weights};
}

Selection without(const Selection& selection, const Culprits& culprits) {
  return {[=](const std::string& path) { return culprits.attention.count(path) == 0 && selection.attention(path); },
          [=](const std::string& path) { return culprits.weights.count(path) == 0 && selection.weights(path); }};
}

void record(Transformed& done, report::Report& report) {
  report.attention = std::move(done.attention);
  report.folded = std::move(done.folded);
  report.renamed = std::move(done.renamed);
  report.seconds["survey"] += done.survey_seconds;
  report.seconds["rewrite"] += done.rewrite_seconds;
}

bool changed_anything(const report::Report& report) {
  for (const auto& entry : report.attention) {
    if (entry.status == report::SiteStatus::kFused) return true;
  }
  for (const auto& entry : report.folded) {
    if (entry.status == report::FoldStatus::kFolded) return true;
  }
  return false;
}

// Names the culprits in the report: as reverted when they were left as they were, else by a warning each.
void name_culprits(const Culprits& culprits, bool reverted, report::Report& report) {
  for (auto& entry : report.attention) {
    if (culprits.attention.count(entry.path) == 0) continue;
    if (reverted) {
      entry.status = report::SiteStatus::kReverted;
      entry.depth.reset();
      entry.reason = "parity failed with this site fused";
    } else {
      report.warnings.push_back("parity fails with the attention of '" + entry.path + "' fused");
    }
  }
  for (auto& entry : report.folded) {
    if (culprits.weights.count(entry.path) == 0) continue;
    if (reverted) {
      entry.status = report::FoldStatus::kDeclined;
      entry.reason = "parity failed with this weight folded";
    } else {
      report.warnings.push_back("parity fails with the weight of '" + entry.path + "' folded");
    }
  }
}

// Compares, and with --revert-failing converts again without what fails. `converted` is replaced then.
bool verify_conversion(const checkpoint::Source& source, checkpoint::Checkpoint& converted,
                       const ConvertOptions& options, const Progress& progress, Transformed& done,
                       report::Report& report) {
  progress("verify", 0);
  checkpoint::Checkpoint original = source.load();
  const auto cases = verify::make_cases(original, options.inputs, options.verification);
  const verify::Verifier verifier(original.module, cases, options.verification);
  report.parity = verifier.compare(converted.module);
  if (report.parity->passed) {
    record(done, report);
  } else {
    const Culprits culprits = find_culprits(source, done, verifier, options, progress);
    if (options.revert_failing) {
      converted = source.load();
      done = transform(converted.module, without(selected_by(options), culprits), options, progress);
      report.parity = verifier.compare(converted.module);
    }
    record(done, report);
    name_culprits(culprits, options.revert_failing, report);
  }
  if (options.bench && report.parity->passed) {
    progress("bench", 0);
    report.bench = verify::bench_modules(original.module, converted.module, cases, options.verification);
  }
  return report.parity->passed;
}

}  // namespace

ConvertResult convert(const checkpoint::Source& source, const checkpoint::Destination* destination,
                      const ConvertOptions& options, const Progress& progress) {
  ConvertResult result;
  report::Report& report = result.report;
  report.flashconvert_version = kVersion;
  report.torch_version = TORCH_VERSION;

  Stopwatch watch;
  progress("load", 0);
  checkpoint::Checkpoint converted = source.load();
  report.input = converted.file;
  report.warnings = converted.warnings;
  report.operators_before = count_operators(converted.module);
  report.seconds["load"] = watch.lap();

  Transformed done = transform(converted.module, selected_by(options), options, progress);
  watch.lap();

  if (options.verify) {
    result.parity_failed = !verify_conversion(source, converted, options, progress, done, report);
    report.seconds["verify"] = watch.lap();
  } else {
    record(done, report);
    if (options.bench) {
      progress("bench", 0);
      checkpoint::Checkpoint original = source.load();
      const auto cases = verify::make_cases(original, options.inputs, options.verification);
      report.bench = verify::bench_modules(original.module, converted.module, cases, options.verification);
    }
  }

  report.operators_after = count_operators(converted.module);
  report.operators_needed = custom_operators(report.operators_after);
  if (!changed_anything(report)) {
    const bool fused_before = report.operators_before.count(survey::kAttentionOperator) != 0;
    report.warnings.emplace_back(fused_before ? "nothing was converted: this model's attention is fused already"
                                              : "nothing was converted: the output is the same model");
  }
  if (result.parity_failed || options.dry_run || !destination) return result;

  watch.lap();
  progress("save", 0);
  report.output = destination->save(converted);
  report.seconds["save"] = watch.lap();
  return result;
}

}  // namespace flashconvert
