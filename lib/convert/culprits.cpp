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

std::set<std::string> linear_paths(const Transformed& whole) {
  std::set<std::string> paths;
  for (const auto& entry : whole.linear) {
    if (entry.status == report::LinearStatus::kConverted) paths.insert(entry.path);
  }
  return paths;
}

}  // namespace

Culprits find_culprits(const checkpoint::Source& source, const Transformed& whole, const verify::Verifier& verifier,
                       const ConvertOptions& options, const Progress& progress) {
  const std::set<std::string> sites = fused_paths(whole);
  const std::set<std::string> weights = folded_paths(whole);
  const std::set<std::string> layers = linear_paths(whole);
  std::size_t trials = sites.size() + weights.size() + (layers.empty() ? 0 : 1);
  std::size_t done = 0;
  const auto fails = [&](const Selection& selection) {
    const double share = static_cast<double>(done) / static_cast<double>(trials);
    ++done;
    progress("looking for the cause, trial " + std::to_string(done) + " of " + std::to_string(trials), share);
    checkpoint::Checkpoint trial = source.load();
    transform(trial.module, selection, options, [](const std::string&, double) {});
    return !verifier.compare(trial.module).passed;
  };
  const auto none = [](const std::string&) { return false; };
  const auto all = [](const std::string&) { return true; };
  const auto only = [](const std::string& path) { return [path](const std::string& other) { return other == path; }; };
  Culprits culprits;
  for (const std::string& path : weights) {
    if (fails({none, only(path), none})) culprits.weights.insert(path);
  }
  for (const std::string& path : sites) {
    if (fails({only(path), none, none})) culprits.attention.insert(path);
  }
  if (!layers.empty() && fails({none, none, all})) {
    trials += layers.size();
    for (const std::string& path : layers) {
      if (fails({none, none, only(path)})) culprits.linear.insert(path);
    }
    if (culprits.linear.empty()) culprits.linear = layers;
  }
  if (culprits.empty()) return {sites, weights, layers};
  return culprits;
}

}  // namespace flashconvert
