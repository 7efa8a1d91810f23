// Who uses what in a checkpoint.
#include "rewrite/module_depth/usage_index.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <functional>

#include "common/function_with_graph.h"
#include "rewrite/module_tree.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Block;
using torch::jit::Node;

void for_each_attribute_read(Block* block, const std::function<void(Node*)>& visit) {
  for (Node* node : block->nodes()) {
    if (node->kind() == c10::prim::GetAttr || node->kind() == c10::prim::SetAttr) visit(node);
    for (Block* inner : node->blocks()) for_each_attribute_read(inner, visit);
  }
}

}  // namespace

UsageIndex::UsageIndex(const torch::jit::Module& root) {
  for (const auto& instances : instances_by_type(root)) {
    for (const Instance& instance : instances) count_attributes(instance.module);
    const c10::ClassTypePtr type = instances.front().module.type();
    for (torch::jit::Function* method : type->methods()) record_reads(type, method);
    for (torch::jit::Function* hook : type->getForwardHooks()) record_reads(type, hook);
    for (torch::jit::Function* hook : type->getForwardPreHooks()) record_reads(type, hook);
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

void UsageIndex::record_reads(const c10::ClassTypePtr& type, torch::jit::Function* function) {
  auto* graph_function = function_with_graph(function);
  if (graph_function == nullptr) return;
  for_each_attribute_read(graph_function->graph()->block(), [&](Node* node) {
    const auto* owner = node->input(0)->type()->castRaw<c10::ClassType>();
    if (owner != nullptr) {
      readers_[{owner, node->s(torch::jit::attr::name)}].emplace(type.get(), graph_function->name());
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

}  // namespace flashconvert::rewrite
