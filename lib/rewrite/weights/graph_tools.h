// Small questions about TorchScript graphs that folding asks in several places: attribute chains, memory cells, what an
// operator writes, and whether a value depends on an input.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace flashconvert::rewrite::weights {

// An attribute as a place that is read and written. The owner is an object (what one instance does) or a class type
// (what the code shared by all its instances does).
struct Cell {
  const void* owner = nullptr;
  std::string name;
  bool operator<(const Cell& other) const { return std::tie(owner, name) < std::tie(other.owner, other.name); }
};

// `self.linear.weight` as the value `self` and the names that follow.
struct AttributeChain {
  torch::jit::Value* root = nullptr;
  std::vector<std::string> names;
};
std::optional<AttributeChain> attribute_chain(torch::jit::Value* value);

// The attribute that the chain leads to in the instance `self`: its owner, or nothing when the chain starts elsewhere.
std::optional<std::pair<c10::intrusive_ptr<c10::ivalue::Object>, std::string>> resolve_chain(
    const AttributeChain& chain, const torch::jit::Module& self);

// Operators that hand on a tensor's values unchanged, in another shape, order, type or memory: a weight that went
// through these alone is not reparameterised.
bool is_neutral(const torch::jit::Node* node);

// A CallMethod or CallFunction node.
bool is_call(const torch::jit::Node* node);

// The function that a CallMethod or CallFunction node calls, or null (interfaces).
torch::jit::GraphFunction* called_function(const torch::jit::Node* node);

// Calls `visit` for every node of the block and of the blocks inside it, in program order.
void for_each_node(torch::jit::Block* block, const std::function<void(torch::jit::Node*)>& visit);

// Whether `inner` is the block or lies inside it.
bool contains(const torch::jit::Node* node, torch::jit::Block* inner);

// Whether a node runs when every module is in eval mode: it stands under no branch taken on `training` alone.
bool runs_in_eval(const torch::jit::Node* node);

// The memory that a value may share: attributes, inputs, or tensors made in the same graph.
struct Base {
  enum class Kind { kCell, kInput, kLocal, kUnknown } kind = Kind::kUnknown;
  Cell cell;                               // kCell
  const torch::jit::Node* node = nullptr;  // kLocal: what made it
  bool operator<(const Base& other) const {
    return std::tie(kind, cell, node) < std::tie(other.kind, other.cell, other.node);
  }
};
using CellOf = std::function<std::optional<Cell>(const torch::jit::Node* get_or_set_attr)>;
std::set<Base> bases(torch::jit::Value* value, const CellOf& cell_of);

// Whether a GetAttr or SetAttr node names an attribute of a module, and not of some other object (torch.no_grad()).
bool is_module_attribute(const torch::jit::Node* node);

// The inputs that an operator writes to, by its schema; for other objects than modules, setting an attribute counts.
std::vector<torch::jit::Value*> written_inputs(const torch::jit::Node* node);

// The cell of a GetAttr or SetAttr node by the type of the object that it names.
std::optional<Cell> type_cell(const torch::jit::Node* node);

// Which values of one graph depend on an input other than `self`.
class InputDependence {
public:
  bool depends(torch::jit::Value* value);
  // The name of one input that the value depends on.
  std::string input_of(torch::jit::Value* value);

private:
  torch::jit::Value* find(torch::jit::Value* value);
  torch::jit::Value* find_in_node(torch::jit::Node* node);
  std::unordered_map<const torch::jit::Node*, torch::jit::Value*> nodes_;
};

}  // namespace flashconvert::rewrite::weights
