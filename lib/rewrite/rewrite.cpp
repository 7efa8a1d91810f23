// The rewrite of attention, in order: accept the survey's proposals in its working copies, give instances that must
// differ types of their own, install each method once for its type, and deepen sites to FusedAttention modules.
#include "rewrite/rewrite.h"

#include <utility>
#include <vector>

#include "rewrite/accept.h"
#include "rewrite/install.h"
#include "rewrite/method_graph.h"
#include "rewrite/module_depth/deepen.h"
#include "rewrite/separate_instances.h"

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

}  // namespace

RewriteResult rewrite_attention(Module& root, survey::Survey survey, const RewriteOptions& options) {
  RewriteResult result;
  for (MethodSurvey& method : survey.methods) {
    if (has_fused_site(method)) accept_proposals(method);
  }
  mark_core_depth(survey);
  separate_instances_that_differ(root, survey);

  Deepener deepener(root, options.pack);
  const auto methods = methods_to_install(survey);
  for (const MethodOfType& instances : methods) {
    for (report::Rename& rename : deepener.deepen(instances)) result.renamed.push_back(std::move(rename));
    install(instances);
  }
  if (!methods.empty()) drop_compiled_code(root);
  result.entries = entries_of(survey);
  return result;
}

}  // namespace flashconvert::rewrite
