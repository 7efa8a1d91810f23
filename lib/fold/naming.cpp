// Where a folded layer keeps its weight and bias.
#include "fold/naming.h"

#include <algorithm>
#include <map>

#include "fold/classify.h"
#include "graph/function_with_graph.h"

namespace flashconvert::fold {
namespace {

using torch::jit::Value;

// Whether the layers of a type's methods take this weight and no other.
bool is_one_layer(const Folding& folding, const Liveness& after) {
  const std::set<Operand> operands(folding.operands.begin(), folding.operands.end());
  const auto is_live = [&](const torch::jit::Node* node) { return after.is_live(node); };
  for (torch::jit::Function* method : folding.type->methods()) {
    auto* function = function_with_graph(method);
    if (function != nullptr && has_other_layers(*function->graph(), operands, is_live)) return false;
  }
  return true;
}

bool is_free(const Folding& folding, const std::string& name, const Plan& plan, const Liveness& after) {
  const Cell cell{folding.type.get(), name};
  if (folding.type->findMethod(name) != nullptr || folding.type->findConstantSlot(name)) return false;
  const auto slot = folding.type->findAttributeSlot(name);
  if (!slot) return true;
  const bool is_tensor = folding.type->getAttribute(*slot)->kind() == c10::TypeKind::TensorType;
  return is_tensor && plan.cells.count(cell) != 0 && !after.reads(cell);
}

bool is_number(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// The attributes from the layer to its raw parameter, as one name: "q.parametrizations.weight.original" is "q_weight".
std::string name_after_raw(const Folding& folding, const ModuleIndex& index) {
  const PlannedWeight& weight = folding.weights[0];
  const auto raw = raw_weight(weight.path, weight.value);
  if (!raw) return "weight";
  std::string path;
  for (const Instance& instance : index.instances()) {
    if (instance.module._ivalue().get() == raw->cell.owner) path = join_path(instance.path, raw->cell.name);
  }
  const std::string prefix = weight.entry.path.empty() ? "" : weight.entry.path + ".";
  if (path.compare(0, prefix.size(), prefix) != 0) return "weight";
  std::string name;
  std::string part;
  for (const char c : path.substr(prefix.size()) + ".") {
    if (c != '.') {
      part += c;
      continue;
    }
    const bool is_machinery = part == "parametrizations" || part.compare(0, 8, "original") == 0 || is_number(part);
    if (!is_machinery) name += (name.empty() ? "" : "_") + part;
    part.clear();
  }
  return name.empty() ? "weight" : name;
}

void choose_attribute(Folding& folding, const ModuleIndex& index, const Plan& plan, const Liveness& after,
                      std::set<Cell>& taken) {
  const auto take = [&](const std::string& name) {
    if (!is_free(folding, name, plan, after) || !taken.insert({folding.type.get(), name}).second) return false;
    folding.attribute = name;
    return true;
  };
  if (is_one_layer(folding, after) && take("weight")) return;
  const std::string name = name_after_raw(folding, index);
  if (take(name) || take("folded_" + name)) return;
  for (int i = 2; !take("folded_" + name + "_" + std::to_string(i)); ++i) {
  }
}

// The biases that lie in a submodule which only the weight's path needs otherwise.
std::vector<Operand> wrapped_biases(const Folding& folding) {
  std::vector<Operand> found;
  std::set<std::vector<std::string>> places;
  for (const Operand& weight : folding.operands) {
    const auto bias = bias_of(weight);
    if (!bias) return {};
    const AttributeChain chain = attribute_chain(bias->value());
    if (chain.names.size() < 2 || !chain.starts_at_self()) return {};
    places.insert(chain.names);
    found.push_back(*bias);
  }
  return places.size() == 1 ? found : std::vector<Operand>{};
}

void note_cells(Value* value, std::set<Cell>& cells) {
  for (; value->node()->kind() == c10::prim::GetAttr; value = value->node()->input()) {
    if (const auto cell = type_cell(value->node())) cells.insert(*cell);
  }
}

}  // namespace

void name_weights(const ModuleIndex& index, Plan& plan) {
  if (plan.foldings.empty()) return;
  std::set<Cell> taken;
  {
    const Liveness after(index, plan.cut, plan.cells);
    for (Folding& folding : plan.foldings) choose_attribute(folding, index, plan, after, taken);
  }
  std::set<Operand> cut = plan.cut;
  std::set<Cell> cells = plan.cells;
  std::vector<std::pair<Folding*, std::vector<Operand>>> moves;
  for (Folding& folding : plan.foldings) {
    if (folding.attribute != "weight" || folding.type->hasAttribute("bias")) continue;
    const std::vector<Operand> biases = wrapped_biases(folding);
    if (biases.empty()) continue;
    cut.insert(biases.begin(), biases.end());
    note_cells(biases[0].value(), cells);
    moves.emplace_back(&folding, biases);
  }
  const Liveness after(index, cut, cells);
  for (auto& [folding, biases] : moves) {
    const std::string wrapped = attribute_chain(biases[0].value()).names[0];
    // The submodule stays when something else needs it: so does its bias.
    if (after.reads({folding->type.get(), wrapped})) continue;
    folding->bias = biases;
    plan.cut.insert(biases.begin(), biases.end());
    note_cells(biases[0].value(), plan.cells);
  }
}

}  // namespace flashconvert::fold
