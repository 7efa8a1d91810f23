// The module instances below a root, each once, with the path that leads to it first. Shared submodules have several
// paths and one instance; scripted siblings are several instances of one type.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <optional>
#include <string>
#include <vector>

#include "common/module_path.h"

namespace flashconvert {

struct Instance {
  std::string path;  // "" for the root, "encoder.layers.0"
  torch::jit::Module module;
};

// Every distinct instance, depth first, in the order of the attributes.
std::vector<Instance> module_instances(const torch::jit::Module& root);

// Those of exactly this type (by identity of the type, not by name).
std::vector<Instance> instances_of(const torch::jit::Module& root, const c10::ClassTypePtr& type);

// The instances gathered by type; types and instances in the order in which they are met.
std::vector<std::vector<Instance>> instances_by_type(const std::vector<Instance>& instances);

// The distinct types of the instances, in the order in which they are met.
std::vector<c10::ClassTypePtr> module_types(const torch::jit::Module& root);

// The module at `path`, or nothing when an attribute on the way is missing or no module.
std::optional<torch::jit::Module> module_at(const torch::jit::Module& root, const std::string& path);

}  // namespace flashconvert
