// Removing what a fold left without use.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <set>
#include <string>
#include <vector>

#include "fold/liveness.h"

namespace flashconvert::fold {

// Removes the nodes and methods that were live before and are not any more. Nodes that were dead before stay.
void sweep_code(const torch::jit::Module& root, const Liveness& before, const Liveness& after);

// Removes the attributes of `cells` (owners are types), except the `kept`, that no code below `root` mentions any more:
// those of the folded layers at the paths `owners`, and of modules inside them that are still there.
void sweep_attributes(const torch::jit::Module& root, const std::set<Cell>& cells, const std::set<Cell>& kept,
                      const std::vector<std::string>& owners);

// Removes one attribute from a type and from all its instances below `root`.
void remove_attribute(const torch::jit::Module& root, const c10::ClassTypePtr& type, const std::string& name);

}  // namespace flashconvert::fold
