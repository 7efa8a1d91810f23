// The last check before a region of a graph becomes a module: both are run on random inputs of several shapes.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rewrite/outline/region.h"

namespace flashconvert::rewrite {

class RegionCheck {
public:
  // Runs the region of `self`'s graph, as it stands, and `fused` on the same random inputs, batch, query and key
  // lengths all different. Returns what disagrees, or nothing. In the dtype of the parameters: a mistake in the layout
  // shows as an error of the size of the result, a packed product as a difference in rounding.
  //
  // One set of lengths tells whether the weights are right. Whether the layout is for other lengths, too, is a matter
  // of the two graphs alone: those that were checked before, with other weights, are not run on the others again.
  std::optional<std::string> against_region(const FusedRegion& region, const torch::jit::Module& self,
                                            torch::jit::Module& fused);

private:
  struct Graphs {
    std::shared_ptr<torch::jit::Graph> region, fused;  // with their calls inlined
  };
  bool has_checked(const Graphs& graphs) const;

  std::vector<Graphs> checked_;  // with all lengths
};

}  // namespace flashconvert::rewrite
