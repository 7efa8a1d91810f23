// What is known of one method's graph, and what its callers promise of its arguments.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>

#include "graph/graph_facts.h"
#include "survey/assumed_mask.h"

namespace flashconvert::survey {

class ProbeMemory;

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

  // What the probe has seen agree already, in any method; null: nothing is remembered.
  void remember_probes(std::shared_ptr<ProbeMemory> memory) { probes_ = std::move(memory); }
  ProbeMemory* probes() const { return probes_.get(); }

private:
  std::unordered_map<torch::jit::Value*, AssumedMask> assumed_masks_;
  std::shared_ptr<ProbeMemory> probes_;
};

}  // namespace flashconvert::survey
