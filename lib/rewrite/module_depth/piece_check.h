// The last check before a region of a graph becomes a module: both are run on random inputs of several shapes.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <optional>
#include <string>

#include "rewrite/module_depth/region.h"

namespace flashconvert::rewrite {

// Runs the region of `self`'s graph, as it stands, and `fused` on the same random inputs, batch, query and key lengths
// all different. Returns what disagrees, or nothing. In the dtype of the parameters: a mistake in the layout shows as
// an error of the size of the result, a packed product as a difference in rounding.
std::optional<std::string> check_against_region(const FusedRegion& region, const torch::jit::Module& self,
                                                torch::jit::Module& fused);

}  // namespace flashconvert::rewrite
