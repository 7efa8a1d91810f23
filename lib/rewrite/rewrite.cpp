// The rewrite of attention, in order: accept the survey's proposals in its working copies, give instances that must
// differ types of their own, install each method once for its type, and deepen sites to FusedAttention modules.
#include "rewrite/rewrite.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rewrite/accept.h"
#include "rewrite/method_graph.h"
#include "rewrite/separate_instances.h"

namespace flashconvert::rewrite {
namespace {

using survey::MethodSurvey;
using torch::jit::Module;

// The methods to install, in the survey's order: one of each type and name, the others of that type having its graph.
std::vector<MethodSurvey*> methods_to_install(survey::Survey& survey) {
  std::vector<MethodSurvey*> methods;
  std::set<std::pair<c10::ClassType*, std::string>> seen;
  for (MethodSurvey& method : survey.methods) {
    if (!has_fused_site(method)) continue;
    if (seen.emplace(method.module.type().get(), method.method).second) methods.push_back(&method);
  }
  return methods;
}

std::vector<report::AttentionEntry> entries_of(const survey::Survey& survey) {
  std::vector<report::AttentionEntry> entries;
  for (const MethodSurvey& method : survey.methods) {
    for (const survey::Site& site : method.sites) entries.push_back(site.entry);
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

RewriteResult rewrite_attention(Module& root, survey::Survey survey, const RewriteOptions& /*options*/) {
  RewriteResult result;
  for (MethodSurvey& method : survey.methods) {
    if (has_fused_site(method)) accept_proposals(method);
  }
  mark_core_depth(survey);
  separate_instances_that_differ(root, survey);

  const auto methods = methods_to_install(survey);
  for (MethodSurvey* method : methods) replace_method_graph(method->module.type(), method->method, method->graph);
  if (!methods.empty()) drop_compiled_code(root);
  result.entries = entries_of(survey);
  return result;
}

}  // namespace flashconvert::rewrite
