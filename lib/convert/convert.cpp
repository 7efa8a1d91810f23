// The pipeline (convert.h).
#include "convert/convert.h"

#include <torch/version.h>

#include "convert/operator_counts.h"
#include "convert/stopwatch.h"
#include "convert/transform.h"
#include "convert/verify_conversion.h"
#include "convert/version.h"
#include "verify/device.h"

namespace flashconvert {

namespace {

bool changed_anything(const report::Report& report) {
  for (const auto& entry : report.attention) {
    if (entry.status == report::SiteStatus::kFused) return true;
  }
  for (const auto& entry : report.folded) {
    if (entry.status == report::FoldStatus::kFolded) return true;
  }
  for (const auto& entry : report.linear) {
    if (entry.status == report::LinearStatus::kConverted) return true;
  }
  return false;
}

// Survey and rewrite take one thread, and leave another to the check of the file.
Transformed transform_while_checking(checkpoint::UncheckedCheckpoint& loaded, const ConvertOptions& options,
                                     const Progress& progress) {
  try {
    return transform(loaded.checkpoint.module, selected_by(options), options, progress);
  } catch (...) {
    loaded.sha256.get();  // a damaged file explains whatever went wrong with it
    throw;
  }
}

}  // namespace

ConvertResult convert(const checkpoint::Source& source, const checkpoint::Destination* destination,
                      const ConvertOptions& options, const Progress& progress) {
  ConvertResult result;
  report::Report& report = result.report;
  report.flashconvert_version = kVersion;
  report.torch_version = TORCH_VERSION;

  // A device that does not exist is noticed before the work, and CUDA loaded before torch is asked for it.
  if (options.verify || options.bench) verify::choose_device(options.verification.device);

  Stopwatch watch;
  progress("load", 0);
  checkpoint::UncheckedCheckpoint loaded = source.load_unchecked();
  checkpoint::Checkpoint& converted = loaded.checkpoint;
  report.warnings = converted.warnings;
  report.operators_before = count_operators(converted.module);
  report.seconds["load"] = watch.lap();

  Transformed done = transform_while_checking(loaded, options, progress);
  watch.lap();
  converted.file.sha256 = loaded.sha256.get();
  report.input = converted.file;
  report.seconds["load"] += watch.lap();

  if (options.verify) {
    result.parity_failed = !verify_conversion(source, converted, done, options, progress, report);
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
  const bool changed = changed_anything(report);
  if (changed) {
    report.warnings.insert(report.warnings.end(), converted.left_out.begin(), converted.left_out.end());
  } else {
    const bool fused_before = report.operators_before.count(survey::kAttentionOperator) != 0;
    report.warnings.emplace_back(fused_before ? "nothing was converted: this model's attention is fused already"
                                              : "nothing was converted: the output is the same file");
  }
  if (result.parity_failed || options.dry_run || !destination) return result;

  watch.lap();
  progress("save", 0);
  report.output = changed ? destination->save(converted) : destination->copy(source, report.input);
  report.seconds["save"] = watch.lap();
  return result;
}

}  // namespace flashconvert
