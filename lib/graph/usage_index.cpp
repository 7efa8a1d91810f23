// Who uses what in a checkpoint.
#include "graph/usage_index.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>

#include "graph/module_index.h"
#include "graph/traversal.h"

namespace flashconvert {
UsageIndex::UsageIndex(const ModuleIndex& index) {
  for (const Instance& instance : index.instances()) count_attributes(instance.module);
  for (const auto* functions : {&index.methods(), &index.hooks()}) {
    for (const ModuleIndex::Method& method : *functions) record_reads(method.type, method.function);
  }
}

void UsageIndex::count_attributes(const torch::jit::Module& module) {
  for (const c10::IValue& value : module._ivalue()->slots()) {
    if (value.isObject()) ++modules_[value.toObject().get()];
    if (value.isTensor() && value.toTensor().defined() && value.toTensor().has_storage()) {
      ++storages_[value.toTensor().storage().unsafeGetStorageImpl()];
    }
  }
}

void UsageIndex::record_reads(const c10::ClassTypePtr& type, torch::jit::GraphFunction* function) {
  for_each_node(function->graph()->block(), [&](torch::jit::Node* node) {
    if (node->kind() != c10::prim::GetAttr && node->kind() != c10::prim::SetAttr) return;
    const auto* owner = node->input(0)->type()->castRaw<c10::ClassType>();
    if (owner != nullptr) {
      readers_[{owner, node->s(torch::jit::attr::name)}].emplace(type.get(), function->name());
    }
  });
}

int UsageIndex::holders(const torch::jit::Module& module) const {
  const auto found = modules_.find(module._ivalue().get());
  return found == modules_.end() ? 0 : found->second;
}

int UsageIndex::holders(const at::Tensor& tensor) const {
  if (!tensor.has_storage()) return 0;
  const auto found = storages_.find(tensor.storage().unsafeGetStorageImpl());
  return found == storages_.end() ? 0 : found->second;
}

bool UsageIndex::is_read_only_by(const std::set<MethodKey>& methods, const c10::ClassTypePtr& type,
                                 const std::string& attribute) const {
  const auto found = readers_.find({type.get(), attribute});
  return found == readers_.end() ||
         std::includes(methods.begin(), methods.end(), found->second.begin(), found->second.end());
}

}  // namespace flashconvert
