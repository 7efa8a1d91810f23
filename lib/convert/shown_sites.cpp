// The survey's proposals beside the originals instead of in their place (shown_sites.h).
#include "convert/shown_sites.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <string>
#include <utility>

#include "graph/traversal.h"
#include "rewrite/rewrite.h"
#include "survey/survey.h"
#include "verify/site_calls.h"

namespace flashconvert {

namespace {

// The name of a site in its method's graph: the same in every instance of a type, so that they can share the graph.
std::string name_of(const survey::MethodSurvey& method, std::size_t site, std::size_t proposal) {
  return method.method + "/" + std::to_string(site) + "/" + std::to_string(proposal);
}

void show_sites_of(survey::MethodSurvey& method) {
  for (std::size_t site = 0; site < method.sites.size(); ++site) {
    if (!method.sites[site].is_fusible) continue;
    const auto& proposals = method.sites[site].proposals;
    for (std::size_t i = 0; i < proposals.size(); ++i) {
      verify::show_site(method.graph->inputs()[0], name_of(method, site, i), proposals[i].original,
                        proposals[i].replacement);
    }
  }
  torch::jit::EliminateDeadCode(method.graph);  // the proposals of other sites
}

std::string name_of(const std::string& method, std::size_t layer) {
  return method + "/linear/" + std::to_string(layer);
}

void show_linear_layer(const std::string& method, std::size_t number, torch::jit::Value* original,
                       torch::jit::Value* converted) {
  verify::show_site(self_of(*original->owningGraph()), name_of(method, number), original, converted);
}

void list_sites(const survey::MethodSurvey& method, std::vector<verify::ShownSite>& sites) {
  for (std::size_t site = 0; site < method.sites.size(); ++site) {
    if (!method.sites[site].is_fusible) continue;
    for (std::size_t i = 0; i < method.sites[site].proposals.size(); ++i) {
      sites.push_back({method.path, method.method, method.module, name_of(method, site, i), verify::kAttentionSite});
    }
  }
}

}  // namespace

ShowingModule show_sites(const checkpoint::Source& source, const Selection& selection, const ConvertOptions& options) {
  ShowingModule result{source.load(), {}};
  rewrite::RewriteOptions rewriting;
  rewriting.outline = false;
  rewriting.splice = show_sites_of;
  rewriting.splice_linear = show_linear_layer;
  const Transformed shown =
      transform(result.checkpoint.module, selection, options, rewriting, [](const std::string&, double) {});
  for (const survey::MethodSurvey& method : shown.survey.methods) list_sites(method, result.sites);
  for (const rewrite::LinearPlace& place : shown.linear_places) {
    result.sites.push_back(
        {place.path, place.method, place.module, name_of(place.method, place.number), verify::kLinearSite});
  }
  return result;
}

}  // namespace flashconvert
