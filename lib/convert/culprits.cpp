// Trying the sites one by one (culprits.h).
#include "convert/culprits.h"

namespace flashconvert {

namespace {

std::set<std::string> fused_paths(const Transformed& whole) {
  std::set<std::string> paths;
  for (const auto& entry : whole.attention) {
    if (entry.status == report::SiteStatus::kFused) paths.insert(entry.path);
  }
  return paths;
}

std::set<std::string> folded_paths(const Transformed& whole) {
  std::set<std::string> paths;
  for (const auto& entry : whole.folded) {
    if (entry.status == report::FoldStatus::kFolded) paths.insert(entry.path);
  }
  return paths;
}

}  // namespace

Culprits find_culprits(const checkpoint::Source& source, const Transformed& whole, const verify::Verifier& verifier,
                       const ConvertOptions& options, const Progress& progress) {
  const std::set<std::string> sites = fused_paths(whole);
  const std::set<std::string> weights = folded_paths(whole);
  const auto fails = [&](const Selection& selection) {
    checkpoint::Checkpoint trial = source.load();
    transform(trial.module, selection, options, [](const std::string&, double) {});
    return !verifier.compare(trial.module).passed;
  };
  Culprits culprits;
  const std::size_t trials = sites.size() + weights.size();
  std::size_t done = 0;
  const auto show_trial = [&] {
    const double share = static_cast<double>(done) / static_cast<double>(trials);
    ++done;
    progress("looking for the cause, trial " + std::to_string(done) + " of " + std::to_string(trials), share);
  };
  for (const std::string& path : weights) {
    show_trial();
    const auto only_this = [&](const std::string& other) { return other == path; };
    if (fails({[](const std::string&) { return false; }, only_this})) culprits.weights.insert(path);
  }
  for (const std::string& path : sites) {
    show_trial();
    const auto only_this = [&](const std::string& other) { return other == path; };
    if (fails({only_this, [](const std::string&) { return false; }})) culprits.attention.insert(path);
  }
  if (culprits.empty()) return {sites, weights};
  return culprits;
}

}  // namespace flashconvert
