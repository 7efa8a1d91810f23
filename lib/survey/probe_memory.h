// What probes have shown (probe.h): layers of one form are probed once.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/subgraph.h"
#include "survey/method_facts.h"
#include "survey/probe.h"

namespace flashconvert::survey {

// Subgraphs, original and replacement in one, that agreed on all of their trials. An equal one with equal trials would
// run the very same code on the very same numbers.
class ProbeMemory {
public:
  bool has(const Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts) const;
  void add(const Subgraph& subgraph, const ProbeSite& site, const MethodFacts& facts);

private:
  struct Known {
    std::shared_ptr<torch::jit::Graph> graph;
    std::string trials;
  };
  std::vector<Known> known_;
};

}  // namespace flashconvert::survey
