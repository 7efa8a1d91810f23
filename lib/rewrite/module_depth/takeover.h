// Taking layers and parameters out of their modules, into a FusedAttention: what goes, whether it may, and doing it.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>
#include <vector>

#include "rewrite/module_depth/fused_spec.h"
#include "rewrite/module_depth/usage_index.h"

namespace flashconvert::rewrite {

// An attribute of a module below self: a layer or a parameter.
struct TakenAttribute {
  std::vector<std::string> holder;  // path from self
  std::string name;
};

// The layers and parameters that a spec's projections use, each once.
std::vector<TakenAttribute> taken_attributes(const FusedSpec& spec);

// The deepest module below self that holds them all: where the FusedAttention belongs.
std::vector<std::string> common_holder(const std::vector<TakenAttribute>& taken);

// Why the attributes cannot be taken from these instances of one type (by these methods alone), or nothing: they
// are shared, read by other code, or the modules that hold them are also reached by another way.
std::optional<std::string> obstacle_to_taking(const std::vector<TakenAttribute>& taken, const FusedSpec& spec,
                                              const std::vector<torch::jit::Module>& instances,
                                              const std::set<MethodKey>& methods, const torch::jit::Module& root,
                                              const UsageIndex& usage);

// Whether the graph still reads one of the attributes.
bool still_reads(torch::jit::Graph& graph, const torch::jit::Module& self, const std::vector<TakenAttribute>& taken);

// Removes the attributes from the instances and from the types of the modules that hold them.
void remove_attributes(const std::vector<TakenAttribute>& taken, const std::vector<torch::jit::Module>& instances);

}  // namespace flashconvert::rewrite
