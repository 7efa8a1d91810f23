// The comparison of sites: both forms of each, on the operands that it gets when the model runs. What went wrong before
// a site reaches both of its forms, so that a wrong site is found where it is and not at all those after it.
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "verify/compare.h"
#include "verify/evaluation.h"
#include "verify/site_calls.h"
#include "verify/verify.h"

namespace flashconvert::verify {

namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{2}
                                     << 30;  // of kept results; the first case is kept whatever it takes

using SiteKey = std::pair<const void*, std::string>;  // module instance and name
struct Forms {
  at::Tensor original, converted;
};
// The calls of one case, in order, by site.
using Calls = std::map<SiteKey, std::vector<Forms>>;

// There are many linear layers, with large results: of each, rows spread evenly over it are kept, of at most so many
// elements. What is wrong elsewhere shows in the outputs.
constexpr std::int64_t kMostElements = std::int64_t{1} << 18;

at::Tensor rows_of(const at::Tensor& tensor) {
  if (tensor.numel() <= kMostElements) return tensor;
  const std::int64_t step = (tensor.numel() + kMostElements - 1) / kMostElements;
  return tensor.reshape({-1, tensor.size(-1)}).slice(0, 0, std::nullopt, step);
}

at::Tensor kept(const at::Tensor& tensor, bool by_rows) {
  const at::Tensor part = by_rows ? rows_of(tensor.detach()) : tensor.detach();
  return part.to(at::kCPU, part.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

const ShownSite* find_site(const std::vector<ShownSite>& sites, const SiteKey& key) {
  const auto found = std::find_if(sites.begin(), sites.end(), [&](const ShownSite& site) {
    return site.module._ivalue().get() == key.first && site.name == key.second;
  });
  return found == sites.end() ? nullptr : &*found;
}

std::uint64_t bytes_of(const Calls& calls) {
  std::uint64_t bytes = 0;
  for (const auto& [site, forms] : calls) {
    for (const Forms& form : forms) bytes += form.original.nbytes() + form.converted.nbytes();
  }
  return bytes;
}

Calls watch_case(PlacedModule& module, const Case& test, const std::vector<ShownSite>& sites, bool both_forms) {
  Calls calls;
  const SiteWatch watch([&](const SiteCall& call) {
    const SiteKey key{call.module, call.name};
    const ShownSite* const site = find_site(sites, key);
    const bool by_rows = site != nullptr && site->kind == kLinearSite;
    calls[key].push_back({kept(call.original, by_rows), both_forms ? kept(call.converted, by_rows) : at::Tensor()});
  });
  module.run(test.method, test.arguments);
  return calls;
}

// Both forms in the original's own dtype, for as many cases as fit.
std::vector<Calls> watch_forms(const torch::jit::Module& showing, const std::vector<ShownSite>& sites,
                               const Originals& originals) {
  std::vector<Calls> cases;
  PlacedModule placed(showing, {{originals.device}});
  std::uint64_t bytes = 0;
  for (const Case& test : originals.cases) {
    if (bytes > kMostBytes) break;
    cases.push_back(watch_case(placed, test, sites, /*both_forms=*/true));
    bytes += bytes_of(cases.back());
  }
  return cases;
}

// What the forms are judged against: the original form as the verifier's reference evaluates it. Where the module does
// not run that way (its graphs are canonical copies), the form itself is the reference, and the error of one rounding
// of weights and inputs its yardstick.
struct SiteEvaluations {
  std::vector<Calls> cases;
  bool are_yardsticks = false;
};

SiteEvaluations evaluate_sites(const torch::jit::Module& showing, const std::vector<ShownSite>& sites,
                               const Originals& originals, const Reference& reference, std::size_t cases) {
  const auto evaluate = [&](const Placement& placement) {
    SiteEvaluations result{{}, placement.perturbed};
    PlacedModule placed(showing, placement);
    for (std::size_t i = 0; i < cases; ++i) {
      result.cases.push_back(watch_case(placed, originals.cases[i], sites, /*both_forms=*/false));
    }
    return result;
  };
  try {
    return evaluate(reference.placement);
  } catch (const std::exception&) {
    if (reference.is_original()) throw;
  }
  return evaluate({{originals.device}, /*perturbed=*/true});
}

// A run may take another way where numbers are compared: then the forms themselves are all that there is.
const at::Tensor& original_of(const Calls& calls, const SiteKey& site, std::size_t call, const at::Tensor& otherwise) {
  const auto found = calls.find(site);
  return found != calls.end() && call < found->second.size() ? found->second[call].original : otherwise;
}

report::OutputComparison compare_forms(const char* name, const Forms& forms, const at::Tensor& evaluated,
                                       bool evaluated_is_yardstick) {
  const c10::IValue reference = evaluated_is_yardstick ? forms.original : evaluated;
  const c10::IValue yardstick = evaluated_is_yardstick ? evaluated : forms.original;
  return compare_evaluations({reference, yardstick, forms.original, forms.converted}, name).front();
}

// A failure is worse than any figure; a figure is as bad as it uses up what is allowed.
bool is_worse(const report::OutputComparison& a, const report::OutputComparison& b) {
  if (a.passed != b.passed) return !a.passed;
  return a.error_converted * b.allowed > b.error_converted * a.allowed;
}

}  // namespace

std::vector<report::SiteParity> Verifier::compare_sites(const torch::jit::Module& showing,
                                                        const std::vector<ShownSite>& sites) const {
  const auto& [original, originals, reference] = *evaluated_;
  const std::vector<Calls> cases = watch_forms(showing, sites, originals);
  const auto [evaluations, are_yardsticks] = evaluate_sites(showing, sites, originals, reference, cases.size());
  std::map<const ShownSite*, report::SiteParity> worst;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& test = originals.cases[i];
    const Calls& evaluated = evaluations[i];
    for (const auto& [key, calls] : cases[i]) {
      const ShownSite* site = find_site(sites, key);
      if (site == nullptr) continue;
      for (std::size_t call = 0; call < calls.size(); ++call) {
        const auto figures = compare_forms(site->kind, calls[call],
                                           original_of(evaluated, key, call, calls[call].original), are_yardsticks);
        const auto [entry, is_new] = worst.try_emplace(
            site, report::SiteParity{site->path, site->method, test.description, figures, site->kind});
        if (is_new || !is_worse(figures, entry->second.figures)) continue;
        entry->second.inputs = test.description;
        entry->second.figures = figures;
      }
    }
  }
  std::vector<report::SiteParity> entries;  // in the order of the sites
  for (const ShownSite& site : sites) {
    const auto found = worst.find(&site);
    if (found != worst.end()) entries.push_back(std::move(found->second));
  }
  return entries;
}

}  // namespace flashconvert::verify
