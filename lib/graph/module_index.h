// What a checkpoint consists of, found once and passed on: module instances, their types and code, who calls whom, who
// holds what, and what changes while the model runs. It describes the module as it was when the index was made: a stage
// that changes types or methods is followed by a new index.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "graph/call_sites.h"
#include "graph/graph_facts.h"
#include "graph/module_tree.h"
#include "graph/usage_index.h"

namespace flashconvert {

class ModuleIndex {
public:
  explicit ModuleIndex(const torch::jit::Module& root);
  ModuleIndex(const ModuleIndex&) = delete;
  ModuleIndex& operator=(const ModuleIndex&) = delete;

  const torch::jit::Module& root() const { return root_; }

  // Every distinct instance, depth first, in the order of the attributes; and gathered by type.
  const std::vector<Instance>& instances() const { return instances_; }
  const std::vector<std::vector<Instance>>& instances_by_type() const { return by_type_; }

  // How many instances are of exactly this type.
  std::size_t count_of(const c10::ClassTypePtr& type) const;

  // The distinct types, in the order in which they are met, and all their methods with a graph.
  const std::vector<c10::ClassTypePtr>& types() const { return types_; }
  struct Method {
    c10::ClassTypePtr type;
    torch::jit::GraphFunction* function = nullptr;
  };
  const std::vector<Method>& methods() const { return methods_; }
  // The hooks of all types that have a graph.
  const std::vector<Method>& hooks() const { return hooks_; }

  // What code of the model sets, replaces or writes into. Found when it is first asked for, as what follows.
  const MutableAttributes& mutable_attributes() const;
  const CallSites& calls() const;
  const UsageIndex& usage() const;

private:
  torch::jit::Module root_;
  std::vector<Instance> instances_;
  std::vector<std::vector<Instance>> by_type_;
  std::vector<c10::ClassTypePtr> types_;
  std::vector<Method> methods_, hooks_;
  std::unordered_map<const c10::ClassType*, std::size_t> counts_;
  mutable std::optional<MutableAttributes> mutable_attributes_;
  mutable std::unique_ptr<CallSites> calls_;
  mutable std::unique_ptr<UsageIndex> usage_;
};

}  // namespace flashconvert
