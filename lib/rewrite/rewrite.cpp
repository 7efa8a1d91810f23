// The rewrite of attention, in order: accept the survey's proposals in its working copies, give instances that must
// differ types of their own, install each method once for its type, and deepen sites to FusedAttention modules.
#include "rewrite/rewrite.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "rewrite/accept.h"
#include "rewrite/install.h"
#include "rewrite/method_graph.h"
#include "rewrite/module_depth/deepen.h"
#include "rewrite/separate_instances.h"
#include "survey/one_thread.h"

namespace flashconvert::rewrite {
namespace {

using survey::MethodSurvey;
using torch::jit::Module;

std::vector<report::AttentionEntry> entries_of(const survey::Survey& survey) {
  std::vector<report::AttentionEntry> entries;
  for (const MethodSurvey& method : survey.methods) {
    for (const survey::Site& site : method.sites) {
      if (!site.is_other_path) entries.push_back(site.entry);
    }
  }
  return entries;
}

void mark_core_depth(survey::Survey& survey) {
  for (MethodSurvey& method : survey.methods) {
    for (survey::Site& site : method.sites) {
      if (site.entry.status == report::SiteStatus::kFused) site.entry.depth = report::Depth::kCore;
    }
  }
}

bool is_twin_of(const MethodOfType& twin, const MethodOfType& base) {
  return twin.front()->module.type() == base.front()->module.type() && twin.front()->twin_of == base.front()->method;
}

// The method of which this one is the twin, where that has a site to fuse as well; else empty.
MethodOfType base_of(const MethodOfType& twin, const std::vector<MethodOfType>& methods) {
  const auto base =
      std::find_if(methods.begin(), methods.end(), [&](const MethodOfType& other) { return is_twin_of(twin, other); });
  return base == methods.end() ? MethodOfType{} : *base;
}

// Such a method is deepened with its twin or not at all: they read the same projections.
bool has_twin(const MethodOfType& base, const std::vector<MethodOfType>& methods) {
  return std::any_of(methods.begin(), methods.end(),
                     [&](const MethodOfType& other) { return is_twin_of(other, base); });
}

}  // namespace

RewriteResult rewrite_attention(Module& root, survey::Survey survey, const RewriteOptions& options) {
  const survey::OneThread one_thread;
  RewriteResult result;
  for (MethodSurvey& method : survey.methods) {
    if (has_fused_site(method)) accept_proposals(method);
  }
  mark_core_depth(survey);
  separate_instances_that_differ(root, survey);

  Deepener deepener(root, options.pack);
  const auto methods = methods_to_install(survey);
  for (const MethodOfType& instances : methods) {
    if (has_twin(instances, methods)) continue;
    for (report::Rename& rename : deepener.deepen(instances, base_of(instances, methods)))
      result.renamed.push_back(std::move(rename));
  }
  for (const MethodOfType& instances : methods) install(instances);
  if (!methods.empty()) drop_compiled_code(root);
  result.entries = entries_of(survey);
  return result;
}

}  // namespace flashconvert::rewrite
