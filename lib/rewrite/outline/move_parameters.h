// Moving layers and parameters out of their modules, into a FusedAttention: what goes, whether it may, and doing it.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>
#include <vector>

#include "graph/module_index.h"
#include "rewrite/outline/fused_spec.h"

namespace flashconvert::rewrite {

// An attribute of a module below self: a layer or a parameter.
struct MovedAttribute {
  std::vector<std::string> holder;  // path from self
  std::string name;
};

// The layers and parameters that a spec's projections use, each once.
std::vector<MovedAttribute> moved_attributes(const FusedSpec& spec);

// The deepest module below self that holds them all: where the FusedAttention belongs.
std::vector<std::string> common_holder(const std::vector<MovedAttribute>& moved);

// Why the attributes cannot be moved from these instances of one type (by these methods alone), or nothing: they
// are shared, read by other code, or the modules that hold them are also reached by another way.
std::optional<std::string> obstacle_to_moving(const std::vector<MovedAttribute>& moved, const FusedSpec& spec,
                                              const std::vector<torch::jit::Module>& instances,
                                              const std::set<MethodKey>& methods, const ModuleIndex& index);

// Whether the graph still reads one of the attributes.
bool still_reads(torch::jit::Graph& graph, const torch::jit::Module& self, const std::vector<MovedAttribute>& moved);

// Removes the attributes from the instances and from the types of the modules that hold them.
void remove_attributes(const std::vector<MovedAttribute>& moved, const std::vector<torch::jit::Module>& instances);

}  // namespace flashconvert::rewrite
