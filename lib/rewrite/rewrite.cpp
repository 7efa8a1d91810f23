// The rewrite of attention, in order: accept the survey's proposals in its working copies, give instances that must
// differ types of their own, install each method once for its type, and outline sites to FusedAttention modules.
#include "rewrite/rewrite.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/module_path.h"
#include "graph/method_graph.h"
#include "rewrite/accept.h"
#include "rewrite/install.h"
#include "rewrite/outline/outline.h"
#include "rewrite/separate_instances.h"
#include "survey/one_thread.h"

namespace flashconvert::rewrite {
namespace {

using survey::MethodSurvey;
using torch::jit::Module;

bool is_copy_of(const MethodOfType& copy, const MethodOfType& base) {
  return copy.front()->module.type() == base.front()->module.type() &&
         copy.front()->specialises == base.front()->method;
}

// The method of which this one is a specialised copy, where that has a site to fuse as well; else empty.
MethodOfType base_of(const MethodOfType& copy, const std::vector<MethodOfType>& methods) {
  const auto base =
      std::find_if(methods.begin(), methods.end(), [&](const MethodOfType& other) { return is_copy_of(copy, other); });
  return base == methods.end() ? MethodOfType{} : *base;
}

// Such a method is outlined with its specialised copy or not at all: they read the same projections.
bool has_copy(const MethodOfType& base, const std::vector<MethodOfType>& methods) {
  return std::any_of(methods.begin(), methods.end(),
                     [&](const MethodOfType& other) { return is_copy_of(other, base); });
}

}  // namespace

RewriteResult rewrite_attention(Module& root, survey::Survey survey, const SpecialisedMethods& specialised,
                                const RewriteOptions& options) {
  const survey::OneThread one_thread;
  RewriteResult result{std::move(survey), {}};
  keep_useful_methods(root, specialised, result.survey);
  for (MethodSurvey& method : result.survey.methods) {
    if (!has_fused_site(method)) continue;
    if (options.splice) {
      options.splice(method);
    } else {
      accept_proposals(method);
    }
  }
  separate_instances_that_differ(root, result.survey);

  const auto methods = methods_to_install(result.survey);
  if (options.outline) {
    const ModuleIndex index(root);
    Outliner outliner(index, options.pack);
    for (const MethodOfType& instances : methods) {
      if (has_copy(instances, methods)) continue;
      if (!instances.front()->training_matters.empty()) {
        log_detail(join_path(instances.front()->path, instances.front()->method) +
                   ": attention stays at core depth: what the method does in training mode reads the projections");
        continue;
      }
      for (report::Rename& rename : outliner.outline(instances, base_of(instances, methods)))
        result.renamed.push_back(std::move(rename));
    }
  }
  for (const MethodOfType& instances : methods) install(instances);
  if (!methods.empty()) drop_compiled_code(root);
  return result;
}

}  // namespace flashconvert::rewrite
