// The state_dict keys of a model.
#include "fold/state_keys.h"

#include "graph/module_tree.h"

namespace flashconvert::fold {

StateKeys::StateKeys(const torch::jit::Module& root) { visit(root, ""); }

void StateKeys::visit(const torch::jit::Module& module, const std::string& path) {
  const auto object = module._ivalue();
  const auto type = object->type();
  for (size_t slot = 0; slot < object->slots().size(); ++slot) {
    if (!object->getSlot(slot).isTensor() || (!type->is_parameter(slot) && !type->is_buffer(slot))) continue;
    const std::string key = join_path(path, type->getAttributeName(slot));
    keys_.insert(key);
    ordered_.emplace_back(key, Cell{object.get(), type->getAttributeName(slot)});
  }
  for (const auto& child : module.named_children()) visit(child.value, join_path(path, child.name));
}

std::vector<std::string> StateKeys::of(const std::set<Cell>& cells) const {
  std::vector<std::string> found;
  std::set<Cell> seen;
  for (const auto& [key, cell] : ordered_) {
    if (cells.count(cell) != 0 && seen.insert(cell).second) found.push_back(key);
  }
  return found;
}

std::string StateKeys::bias_of(const std::string& path) const {
  const auto keys = of({biases_.at(path)});
  return keys.empty() ? "" : keys[0];
}

}  // namespace flashconvert::fold
