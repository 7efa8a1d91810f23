// Attributes of modules: the chains of names that lead to them, and the memory cells that they are.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace flashconvert {

// An attribute as a place that is read and written. The owner is an object (what one instance does) or a class type
// (what the code shared by all its instances does).
struct Cell {
  const void* owner = nullptr;
  std::string name;
  bool operator<(const Cell& other) const { return std::tie(owner, name) < std::tie(other.owner, other.name); }
};

// `self.linear.weight` as the value `self` and the names that follow; none of them for `self` itself.
struct AttributeChain {
  torch::jit::Value* root = nullptr;
  std::vector<std::string> names;
  bool starts_at_self() const;
};
AttributeChain attribute_chain(torch::jit::Value* value);

// The attribute that the chain leads to in the instance `self`: its owner, or nothing when the chain starts elsewhere,
// is empty, or leads through something that is no object.
struct AttributePlace {
  c10::intrusive_ptr<c10::ivalue::Object> owner;
  std::string name;
};
std::optional<AttributePlace> resolve_chain(const AttributeChain& chain, const torch::jit::Module& self);

// The object that the value is at run time: `self`, or an attribute below it; null for anything else.
c10::intrusive_ptr<c10::ivalue::Object> object_behind(torch::jit::Value* value, const torch::jit::Module& self);

// Whether a GetAttr or SetAttr node names an attribute of a module, and not of some other object (torch.no_grad()).
bool is_module_attribute(const torch::jit::Node* node);

// The cell of a GetAttr or SetAttr node by the type of the object that it names, and by the object that it names in the
// instance `self`.
std::optional<Cell> type_cell(const torch::jit::Node* node);
std::optional<Cell> object_cell(const torch::jit::Node* node, const torch::jit::Module& self);

// The path of a submodule from self when the value is such an attribute, nothing otherwise; self is the empty path.
std::optional<std::vector<std::string>> module_path(torch::jit::Value* value);

// The module at a path from `self`.
torch::jit::Module module_below(const torch::jit::Module& self, const std::vector<std::string>& path);

// Sets the types of the block's values that hold submodules anew, from `self` on: types may have been cloned since.
void retype_submodules(torch::jit::Block* block);

}  // namespace flashconvert
