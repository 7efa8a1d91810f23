// Attributes of modules (attributes.h).
#include "graph/attributes.h"

#include <algorithm>

#include "graph/traversal.h"

namespace flashconvert {

using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
using ObjectPtr = c10::intrusive_ptr<c10::ivalue::Object>;
namespace prim = c10::prim;
namespace attr = c10::attr;

bool AttributeChain::starts_at_self() const { return root == self_of(*root->owningGraph()); }

AttributeChain attribute_chain(Value* value) {
  AttributeChain chain;
  while (value->node()->kind() == prim::GetAttr) {
    chain.names.push_back(value->node()->s(attr::name));
    value = value->node()->input();
  }
  std::reverse(chain.names.begin(), chain.names.end());
  chain.root = value;
  return chain;
}

std::optional<AttributePlace> resolve_chain(const AttributeChain& chain, const Module& self) {
  if (chain.names.empty() || !chain.starts_at_self()) return std::nullopt;
  ObjectPtr object = self._ivalue();
  for (std::size_t i = 0; i + 1 < chain.names.size(); ++i) {
    const c10::IValue next = object->getAttr(chain.names[i]);
    if (!next.isObject()) return std::nullopt;
    object = next.toObject();
  }
  return AttributePlace{object, chain.names.back()};
}

ObjectPtr object_behind(Value* value, const Module& self) {
  const AttributeChain chain = attribute_chain(value);
  if (!chain.starts_at_self()) return nullptr;
  if (chain.names.empty()) return self._ivalue();
  const auto place = resolve_chain(chain, self);
  if (!place) return nullptr;
  const c10::IValue found = place->owner->getAttr(place->name);
  return found.isObject() ? found.toObject() : nullptr;
}

bool is_module_attribute(const Node* node) {
  const auto type = node->input(0)->type()->cast<c10::ClassType>();
  return type && type->is_module();
}

std::optional<Cell> type_cell(const Node* node) {
  if (!is_module_attribute(node)) return std::nullopt;
  return Cell{node->input(0)->type()->expect<c10::ClassType>().get(), node->s(attr::name)};
}

std::optional<Cell> object_cell(const Node* node, const Module& self) {
  const ObjectPtr owner = object_behind(const_cast<Value*>(node->input(0)), self);
  return owner ? std::optional(Cell{owner.get(), node->s(attr::name)}) : std::nullopt;
}

std::optional<std::vector<std::string>> module_path(Value* value) {
  if (value->type()->kind() != c10::TypeKind::ClassType) return std::nullopt;
  AttributeChain chain = attribute_chain(value);
  return chain.starts_at_self() ? std::optional(std::move(chain.names)) : std::nullopt;
}

Module module_below(const Module& self, const std::vector<std::string>& path) {
  Module module = self;
  for (const std::string& name : path) module = module.attr(name).toModule();
  return module;
}

void retype_submodules(torch::jit::Block* block) {
  for_each_node(block, [](Node* node) {
    if (node->kind() != prim::GetAttr) return;
    const auto owner = node->input()->type()->cast<c10::ClassType>();
    const auto attribute = owner ? owner->findAttribute(node->s(attr::name)) : nullptr;
    if (attribute && attribute->kind() == c10::TypeKind::ClassType) node->output()->setType(attribute);
  });
}

}  // namespace flashconvert
