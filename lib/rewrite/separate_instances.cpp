// Giving scripted instances types of their own where their rewritten methods differ.
#include "rewrite/separate_instances.h"

#include <algorithm>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "graph/module_tree.h"
#include "graph/module_types.h"
#include "graph/same_graph.h"

namespace flashconvert::rewrite {
namespace {

using survey::MethodSurvey;
using survey::Survey;
using torch::jit::Module;

// What the rewrite makes of one instance: its rewritten methods; the others keep the shared graph.
using InstanceEdits = std::vector<const MethodSurvey*>;

InstanceEdits edits_of(const Survey& survey, const Module& module) {
  InstanceEdits edits;
  for (const MethodSurvey& method : survey.methods) {
    if (method.module == module && has_fused_site(method)) edits.push_back(&method);
  }
  return edits;
}

bool agree(const InstanceEdits& a, const InstanceEdits& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const MethodSurvey* x, const MethodSurvey* y) {
    return x->method == y->method && x->training_matters == y->training_matters && same_graph(*x->graph, *y->graph);
  });
}

struct Group {
  InstanceEdits edits;
  std::vector<std::string> paths;
};

std::vector<Group> groups_that_agree(const Survey& survey, const std::vector<Instance>& instances) {
  std::vector<Group> groups;
  for (const Instance& instance : instances) {
    InstanceEdits edits = edits_of(survey, instance.module);
    auto group =
        std::find_if(groups.begin(), groups.end(), [&](const Group& known) { return agree(known.edits, edits); });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{std::move(edits), {}});
    group->paths.push_back(instance.path);
  }
  return groups;
}

// The paths of the instances that must leave their type: those outside the largest group.
std::vector<std::string> paths_to_separate(const Survey& survey, const std::vector<Instance>& instances) {
  const std::vector<Group> groups = groups_that_agree(survey, instances);
  const auto largest = std::max_element(groups.begin(), groups.end(),
                                        [](const Group& a, const Group& b) { return a.paths.size() < b.paths.size(); });
  std::vector<std::string> paths;
  for (auto group = groups.begin(); group != groups.end(); ++group) {
    if (group != largest) paths.insert(paths.end(), group->paths.begin(), group->paths.end());
  }
  return paths;
}

// Working copies were made before types were cloned: follow `self` and its attributes anew.
void bring_up_to_date(const Module& root, MethodSurvey& method) {
  const auto module = module_at(root, method.path);
  TORCH_CHECK(module, "there is no module at '", method.path, "'");
  method.module = *module;
  method.graph->inputs().at(0)->setType(module->type());
  retype_submodules(method.graph->block());
}

}  // namespace

bool has_fused_site(const MethodSurvey& method) {
  return std::any_of(method.sites.begin(), method.sites.end(),
                     [](const survey::Site& site) { return site.is_fusible && !site.proposals.empty(); });
}

void separate_instances_that_differ(Module& root, Survey& survey) {
  std::vector<std::string> separate;
  for (const std::vector<Instance>& instances : instances_by_type(module_instances(root))) {
    if (instances.size() < 2) continue;
    for (std::string& path : paths_to_separate(survey, instances)) separate.push_back(std::move(path));
  }
  if (separate.empty()) return;
  for (const std::string& path : separate) specialise_type(root, path);
  for (MethodSurvey& method : survey.methods) bring_up_to_date(root, method);
}

}  // namespace flashconvert::rewrite
