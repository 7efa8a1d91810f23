// The module instances below a root.
#include "graph/module_tree.h"

#include <sstream>
#include <unordered_map>
#include <unordered_set>

namespace flashconvert {
namespace {

using torch::jit::Module;

void visit(const Module& module, const std::string& path, std::unordered_set<c10::ivalue::Object*>& seen,
           std::vector<Instance>& instances) {
  if (!seen.insert(module._ivalue().get()).second) return;
  instances.push_back({path, module});
  for (const auto& child : module.named_children()) {
    visit(child.value, join_path(path, child.name), seen, instances);
  }
}

}  // namespace

std::vector<Instance> module_instances(const Module& root) {
  std::vector<Instance> instances;
  std::unordered_set<c10::ivalue::Object*> seen;
  visit(root, "", seen, instances);
  return instances;
}

std::vector<Instance> instances_of(const Module& root, const c10::ClassTypePtr& type) {
  std::vector<Instance> matching;
  for (Instance& instance : module_instances(root)) {
    if (instance.module.type() == type) matching.push_back(std::move(instance));
  }
  return matching;
}

std::vector<std::vector<Instance>> instances_by_type(const std::vector<Instance>& instances) {
  std::vector<std::vector<Instance>> gathered;
  std::unordered_map<const c10::ClassType*, std::size_t> index;
  for (const Instance& instance : instances) {
    const auto [place, is_new] = index.emplace(instance.module.type().get(), gathered.size());
    if (is_new) gathered.emplace_back();
    gathered[place->second].push_back(instance);
  }
  return gathered;
}

std::vector<c10::ClassTypePtr> module_types(const Module& root) {
  std::vector<c10::ClassTypePtr> types;
  for (const auto& instances : instances_by_type(module_instances(root)))
    types.push_back(instances.front().module.type());
  return types;
}

std::optional<Module> module_at(const Module& root, const std::string& path) {
  Module module = root;
  std::istringstream names(path);
  for (std::string name; std::getline(names, name, '.');) {
    if (!module.hasattr(name)) return std::nullopt;
    const c10::IValue attribute = module.attr(name);
    if (!attribute.isModule()) return std::nullopt;
    module = attribute.toModule();
  }
  return module;
}

}  // namespace flashconvert
