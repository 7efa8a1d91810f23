// Moving layers and parameters out of their modules, into a FusedAttention.
#include "rewrite/outline/move_parameters.h"

#include <algorithm>
#include <set>

#include "graph/module_tree.h"
#include "graph/traversal.h"

namespace flashconvert::rewrite {
namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using Path = std::vector<std::string>;
using Reason = std::optional<std::string>;

void add(std::vector<MovedAttribute>& moved, MovedAttribute attribute) {
  const bool known = std::any_of(moved.begin(), moved.end(), [&](const MovedAttribute& other) {
    return other.holder == attribute.holder && other.name == attribute.name;
  });
  if (!known) moved.push_back(std::move(attribute));
}

void add_projection(std::vector<MovedAttribute>& moved, const Projection& projection) {
  if (projection.is_layer) {
    Path holder = projection.weight.holder;
    std::string name = std::move(holder.back());
    holder.pop_back();
    return add(moved, {std::move(holder), std::move(name)});
  }
  add(moved, {projection.weight.holder, projection.weight.name});
  if (projection.bias) add(moved, {projection.bias->holder, projection.bias->name});
}

std::vector<ParameterRows> parameters_of(const FusedSpec& spec) {
  std::vector<ParameterRows> parameters;
  for (const ParameterGroup& group : spec.groups) {
    for (const RowSelection& selection : group.selections) {
      parameters.push_back(selection.projection->weight);
      if (selection.projection->bias) parameters.push_back(*selection.projection->bias);
    }
  }
  return parameters;
}

// Editing the type of a module edits all its instances: they must be the ones that the rewrite reaches, one from each.
Reason check_holders(const Path& path, const std::vector<Module>& instances, const ModuleIndex& index) {
  const c10::ClassTypePtr type = module_below(instances.front(), path).type();
  std::set<const void*> reached;
  for (const Module& instance : instances) {
    const Module holder = module_below(instance, path);
    if (holder.type() != type || !reached.insert(holder._ivalue().get()).second) {
      return "instances of its type hold their projections differently";
    }
  }
  if (index.count_of(type) != instances.size()) return "the type of the module is used elsewhere too";
  return std::nullopt;
}

// A scripted type says nothing of sizes.
Reason check_same_shapes(const std::vector<ParameterRows>& parameters, const std::vector<Module>& instances) {
  for (const ParameterRows& rows : parameters) {
    const auto tensor = module_below(instances.front(), rows.holder).attr(rows.name).toTensor();
    for (const Module& instance : instances) {
      const auto other = module_below(instance, rows.holder).attr(rows.name).toTensor();
      if (other.sizes() != tensor.sizes()) return "instances of its type have parameters of different shapes";
    }
  }
  return std::nullopt;
}

Reason check_sole_use(const std::vector<MovedAttribute>& moved, const std::vector<ParameterRows>& parameters,
                      const std::vector<Module>& instances, const std::set<MethodKey>& methods,
                      const UsageIndex& usage) {
  for (const MovedAttribute& attribute : moved) {
    const c10::ClassTypePtr type = module_below(instances.front(), attribute.holder).type();
    if (!usage.is_read_only_by(methods, type, attribute.name))
      return "'" + attribute.name + "' is used by other code too";
    for (const Module& instance : instances) {
      const c10::IValue value = module_below(instance, attribute.holder).attr(attribute.name);
      if (value.isModule() && usage.holders(value.toModule()) != 1) return "'" + attribute.name + "' is shared";
    }
  }
  for (const ParameterRows& rows : parameters) {
    for (const Module& instance : instances) {
      const auto tensor = module_below(instance, rows.holder).attr(rows.name).toTensor();
      if (usage.holders(tensor) != 1) return "'" + rows.name + "' is shared with another layer";
    }
  }
  return std::nullopt;
}

bool reads(const Graph& graph, const c10::ClassType* type, const std::string& name) {
  return any_node(graph.block(), [&](const Node* node) {
    if (node->kind() != c10::prim::GetAttr && node->kind() != c10::prim::SetAttr) return false;
    return node->input(0)->type()->castRaw<c10::ClassType>() == type && node->s(torch::jit::attr::name) == name;
  });
}

}  // namespace

std::vector<MovedAttribute> moved_attributes(const FusedSpec& spec) {
  std::vector<MovedAttribute> moved;
  for (const ParameterGroup& group : spec.groups) {
    for (const RowSelection& selection : group.selections) add_projection(moved, *selection.projection);
  }
  return moved;
}

Path common_holder(const std::vector<MovedAttribute>& moved) {
  Path common = moved.front().holder;
  for (const MovedAttribute& attribute : moved) {
    const auto [end, other] =
        std::mismatch(common.begin(), common.end(), attribute.holder.begin(), attribute.holder.end());
    common.erase(end, common.end());
  }
  return common;
}

Reason obstacle_to_moving(const std::vector<MovedAttribute>& moved, const FusedSpec& spec,
                          const std::vector<Module>& instances, const std::set<MethodKey>& methods,
                          const ModuleIndex& index) {
  const auto parameters = parameters_of(spec);
  std::set<Path> holders{common_holder(moved)};
  for (const MovedAttribute& attribute : moved) holders.insert(attribute.holder);
  for (const Path& holder : holders) {
    if (Reason reason = check_holders(holder, instances, index)) return reason;
  }
  if (Reason reason = check_same_shapes(parameters, instances)) return reason;
  return check_sole_use(moved, parameters, instances, methods, index.usage());
}

bool still_reads(Graph& graph, const Module& self, const std::vector<MovedAttribute>& moved) {
  return std::any_of(moved.begin(), moved.end(), [&](const MovedAttribute& attribute) {
    return reads(graph, module_below(self, attribute.holder).type().get(), attribute.name);
  });
}

void remove_attributes(const std::vector<MovedAttribute>& moved, const std::vector<Module>& instances) {
  for (const MovedAttribute& attribute : moved) {
    const c10::ClassTypePtr type = module_below(instances.front(), attribute.holder).type();
    for (const Module& instance : instances) {
      module_below(instance, attribute.holder)._ivalue()->unsafeRemoveAttr(attribute.name);
    }
    type->unsafeRemoveAttribute(attribute.name);
  }
}

}  // namespace flashconvert::rewrite
