// Who uses what in a checkpoint: module objects and tensors by the attributes that hold them, attributes by the methods
// that read them. A layer or a parameter may be taken out of its module only where nothing else would miss it.
#pragma once

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

namespace flashconvert {

class ModuleIndex;

// A method, by its type and name.
using MethodKey = std::pair<const c10::ClassType*, std::string>;

// Made once, before modules move: a tensor or a module that moves keeps its count.
class UsageIndex {
public:
  explicit UsageIndex(const ModuleIndex& index);

  // How many attributes in the tree hold this module.
  int holders(const torch::jit::Module& module) const;

  // How many attributes in the tree hold a tensor on the same storage.
  int holders(const at::Tensor& tensor) const;

  // Whether no other method (or hook) in the tree reads this attribute of the type.
  bool is_read_only_by(const std::set<MethodKey>& methods, const c10::ClassTypePtr& type,
                       const std::string& attribute) const;

private:
  void count_attributes(const torch::jit::Module& module);
  void record_reads(const c10::ClassTypePtr& type, torch::jit::GraphFunction* function);

  std::unordered_map<const void*, int> modules_;
  std::unordered_map<const void*, int> storages_;
  std::map<MethodKey, std::set<MethodKey>> readers_;  // (type, attribute) to methods
};

}  // namespace flashconvert
