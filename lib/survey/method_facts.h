// What is known of one method's graph, and what its callers promise of its arguments.
#pragma once

#include <optional>
#include <unordered_map>

#include "graph/graph_facts.h"
#include "survey/assumed_mask.h"

namespace flashconvert::survey {

class MethodFacts : public GraphFacts {
public:
  using GraphFacts::GraphFacts;

  // A method that was specialised for its callers' mask (rewrite/specialised_methods.h) relies on what it is.
  void assume(torch::jit::Value* input, AssumedMask mask) { assumed_masks_[input] = mask; }

  // What is known by that of a mask; nothing of others.
  std::optional<AssumedMask> assumed_mask(torch::jit::Value* mask) const {
    const auto found = assumed_masks_.find(uncut_mask(mask, *this));
    return found == assumed_masks_.end() ? std::nullopt : std::optional(found->second);
  }

private:
  std::unordered_map<torch::jit::Value*, AssumedMask> assumed_masks_;
};

}  // namespace flashconvert::survey
