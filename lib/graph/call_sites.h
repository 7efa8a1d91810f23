// Where the code of a model calls the methods of its module instances.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/module_tree.h"

namespace flashconvert {

struct CallSite {
  torch::jit::Module caller;
  torch::jit::Graph* graph = nullptr;  // of the caller's method
  torch::jit::Node* call = nullptr;
};

class CallSites {
public:
  explicit CallSites(const std::vector<Instance>& instances);

  // Every call of `method` on this instance.
  const std::vector<CallSite>& of(const torch::jit::Module& callee, const std::string& method) const;

  // Whether each call in the code of the model that may reach the method of this type has been traced to an instance.
  bool are_all_known(const c10::ClassTypePtr& type, const std::string& method) const;

private:
  std::map<std::pair<const void*, std::string>, std::vector<CallSite>> calls_;
  std::set<const torch::jit::Function*> unresolved_;  // called on modules that no chain of attributes leads to
  std::set<std::string> unknown_;                     // methods called through interfaces
};

}  // namespace flashconvert
