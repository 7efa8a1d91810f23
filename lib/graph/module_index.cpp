// What a checkpoint consists of (module_index.h).
#include "graph/module_index.h"

#include "graph/function_with_graph.h"
#include "graph/state_writers.h"

namespace flashconvert {

namespace {

void add_functions(const c10::ClassTypePtr& type, const std::vector<torch::jit::Function*>& functions,
                   std::vector<ModuleIndex::Method>& found) {
  for (torch::jit::Function* function : functions) {
    if (auto* with_graph = function_with_graph(function)) found.push_back({type, with_graph});
  }
}

}  // namespace

ModuleIndex::ModuleIndex(const torch::jit::Module& root)
    : root_(root), instances_(module_instances(root)), by_type_(flashconvert::instances_by_type(instances_)) {
  for (const auto& instances : by_type_) {
    const c10::ClassTypePtr type = instances.front().module.type();
    types_.push_back(type);
    counts_[type.get()] = instances.size();
    add_functions(type, type->methods(), methods_);
    add_functions(type, type->getForwardPreHooks(), hooks_);
    add_functions(type, type->getForwardHooks(), hooks_);
  }
}

std::size_t ModuleIndex::count_of(const c10::ClassTypePtr& type) const {
  const auto found = counts_.find(type.get());
  return found == counts_.end() ? 0 : found->second;
}

const MutableAttributes& ModuleIndex::mutable_attributes() const {
  if (!mutable_attributes_) mutable_attributes_ = StateWriters(*this).cells();
  return *mutable_attributes_;
}

const CallSites& ModuleIndex::calls() const {
  if (!calls_) calls_ = std::make_unique<CallSites>(instances_);
  return *calls_;
}

const UsageIndex& ModuleIndex::usage() const {
  if (!usage_) usage_ = std::make_unique<UsageIndex>(*this);
  return *usage_;
}

}  // namespace flashconvert
