// What the probe is told of a site that was walked: the values that it draws, and the sizes that the graph fixes.
#pragma once

#include <cstdint>
#include <optional>

#include "survey/graph_facts.h"
#include "survey/probe.h"
#include "survey/site_builder.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

ProbeSite describe_for_probe(const SiteWalk& walk, const BuiltSite& built, const GraphFacts& facts);

// A mask that callers hand down, drawn as they promise it.
ProbeInput handed_mask_input(torch::jit::Value* tensor, const HandedMask& mask);

// The size of a dimension of an operand in the operator's orientation, counted from the end.
std::optional<std::int64_t> operand_size(const Operand& operand, std::int64_t dim, const GraphFacts& facts);

}  // namespace flashconvert::survey
