// Verification and what follows from it (verify_conversion.h).
#include "convert/verify_conversion.h"

#include <algorithm>
#include <iomanip>
#include <optional>
#include <sstream>
#include <utility>

#include "convert/culprits.h"
#include "convert/shown_sites.h"
#include "verify/device.h"

namespace flashconvert {

namespace {

Selection without(const Selection& selection, const Culprits& culprits) {
  return {[=](const std::string& path) { return culprits.attention.count(path) == 0 && selection.attention(path); },
          [=](const std::string& path) { return culprits.weights.count(path) == 0 && selection.weights(path); },
          [=](const std::string& path) { return culprits.linear.count(path) == 0 && selection.linear(path); }};
}

// On the CPU linear layers run torch's own code in both forms: there is nothing to compare.
Selection shown_on(const c10::Device& device, const ConvertOptions& options) {
  Selection selection = selected_by(options);
  if (!device.is_cuda()) selection.linear = [](const std::string&) { return false; };
  return selection;
}

bool has_site(const Transformed& done, const c10::Device& device) {
  const bool has_linear = std::any_of(done.linear.begin(), done.linear.end(), [](const auto& entry) {
    return entry.status == report::LinearStatus::kConverted;
  });
  return (has_linear && device.is_cuda()) ||
         std::any_of(done.attention.begin(), done.attention.end(),
                     [](const auto& entry) { return entry.status == report::SiteStatus::kFused; });
}

// A model that cannot hold both forms of its sites (memory) is judged by its outputs alone.
std::vector<report::SiteParity> compare_sites(const checkpoint::Source& source, const verify::Verifier& verifier,
                                              const ConvertOptions& options, const c10::Device& device,
                                              report::Report& report) {
  try {
    const ShowingModule showing = show_sites(source, shown_on(device, options), options);
    return verifier.compare_sites(showing.checkpoint.module, showing.sites);
  } catch (const std::exception& error) {
    const std::string message = error.what();
    report.warnings.push_back("the sites could not be compared one by one: " + message.substr(0, message.find('\n')));
    return {};
  }
}

Culprits failing_sites(const report::Parity& parity) {
  Culprits culprits;
  for (const auto& site : parity.sites) {
    if (site.figures.passed) continue;
    (site.kind == verify::kLinearSite ? culprits.linear : culprits.attention).insert(site.path);
  }
  return culprits;
}

// A conversion without the culprits.
struct Trial {
  checkpoint::Checkpoint converted;
  Transformed done;
  report::Parity parity;
};

Trial convert_without(const Culprits& culprits, const checkpoint::Source& source, const verify::Verifier& verifier,
                      const ConvertOptions& options) {
  Trial trial{source.load(), {}, {}};
  trial.done = transform(trial.converted.module, without(selected_by(options), culprits), options,
                         [](const std::string&, double) {});
  trial.parity = verifier.compare(trial.converted.module);
  return trial;
}

// "parity failed with this site fused (error 0.33 of its output's scale, allowed 4e-06)"
std::string reason_of(const std::string& path, const char* kind, const report::Parity& parity) {
  std::ostringstream reason;
  reason << "parity failed with this " << (kind == verify::kLinearSite ? "layer converted" : "site fused");
  for (const auto& site : parity.sites) {
    if (site.path != path || site.kind != kind || site.figures.passed) continue;
    reason << std::setprecision(2) << " (error " << site.figures.error_converted << " of its output's scale, allowed "
           << site.figures.allowed << ")";
    break;
  }
  return reason.str();
}

// Names the culprits in the report: as reverted when they were left as they were, else by a warning each. `parity` is
// that of the conversion with them.
void name_culprits(const Culprits& culprits, const report::Parity& parity, bool reverted, report::Report& report) {
  for (auto& entry : report.attention) {
    if (culprits.attention.count(entry.path) == 0) continue;
    if (reverted) {
      entry.status = report::SiteStatus::kReverted;
      entry.depth.reset();
      entry.reason = reason_of(entry.path, verify::kAttentionSite, parity);
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
  for (auto& entry : report.linear) {
    if (culprits.linear.count(entry.path) == 0) continue;
    if (reverted) {
      entry.status = report::LinearStatus::kReverted;
      entry.reason = reason_of(entry.path, verify::kLinearSite, parity);
    } else {
      report.warnings.push_back("parity fails with the linear layer '" + entry.path + "' converted");
    }
  }
}

// The figures of the sites that stay fused.
std::vector<report::SiteParity> sites_without(const Culprits& culprits, const std::vector<report::SiteParity>& sites) {
  std::vector<report::SiteParity> rest;
  for (const auto& site : sites) {
    const auto& without = site.kind == verify::kLinearSite ? culprits.linear : culprits.attention;
    if (without.count(site.path) == 0) rest.push_back(site);
  }
  return rest;
}

void tell_failure(const Transformed& done, const ConvertOptions& options, report::Report report) {
  report.attention = done.attention;
  report.folded = done.folded;
  report.linear = done.linear;
  report.renamed = done.renamed;
  options.on_failed_parity(report);
}

// What is behind a failure: the sites that fail on their own, where all is well without them; else what the search
// finds.
void handle_failure(const checkpoint::Source& source, checkpoint::Checkpoint& converted, Transformed& done,
                    const verify::Verifier& verifier, const ConvertOptions& options, const Progress& progress,
                    report::Report& report) {
  const report::Parity failed = *report.parity;
  tell_failure(done, options, report);
  Culprits culprits = failing_sites(failed);
  std::optional<Trial> trial;
  if (!culprits.empty()) {
    progress("looking for the cause", 0);
    trial = convert_without(culprits, source, verifier, options);
    if (!trial->parity.passed) trial.reset();
  }
  if (!trial) {
    const Culprits found = find_culprits(source, done, verifier, options, progress);
    culprits.attention.insert(found.attention.begin(), found.attention.end());
    culprits.weights.insert(found.weights.begin(), found.weights.end());
    culprits.linear.insert(found.linear.begin(), found.linear.end());
    if (options.revert_failing) trial = convert_without(culprits, source, verifier, options);
  }
  if (options.revert_failing) {
    converted = std::move(trial->converted);
    done = std::move(trial->done);
    report.parity = std::move(trial->parity);
    report.parity->sites = sites_without(culprits, failed.sites);
  }
  record(done, report);
  name_culprits(culprits, failed, options.revert_failing, report);
}

}  // namespace

void record(Transformed& done, report::Report& report) {
  report.attention = std::move(done.attention);
  report.folded = std::move(done.folded);
  report.linear = std::move(done.linear);
  report.renamed = std::move(done.renamed);
  report.seconds["survey"] += done.survey_seconds;
  report.seconds["rewrite"] += done.rewrite_seconds;
}

bool verify_conversion(const checkpoint::Source& source, checkpoint::Checkpoint& converted, Transformed& done,
                       ConvertOptions options, const Progress& progress, report::Report& report) {
  progress("verify", 0);
  options.dump_graphs.clear();  // the stages run again below: what they ran on first has been dumped
  checkpoint::Checkpoint original = source.load();
  const auto cases = verify::make_cases(original, options.inputs, options.verification);
  const verify::Verifier verifier(original.module, cases, options.verification);
  report.parity = verifier.compare(converted.module);
  const c10::Device device = verify::choose_device(options.verification.device);
  if (has_site(done, device)) {
    progress("verify the sites", 0);
    report.parity->sites = compare_sites(source, verifier, options, device, report);
    report.parity->passed = report.parity->passed && failing_sites(*report.parity).empty();
  }
  if (report.parity->passed) {
    record(done, report);
  } else {
    handle_failure(source, converted, done, verifier, options, progress, report);
  }
  if (options.bench && report.parity->passed) {
    progress("bench", 0);
    report.bench = verify::bench_modules(original.module, converted.module, cases, options.verification);
  }
  return report.parity->passed;
}

}  // namespace flashconvert
