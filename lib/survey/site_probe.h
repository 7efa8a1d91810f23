// What the probe is told of a site that was walked: the values that it draws, and the sizes that the graph fixes.
#pragma once

#include <cstdint>
#include <optional>

#include "survey/method_facts.h"
#include "survey/probe.h"
#include "survey/site_builder.h"
#include "survey/site_walk.h"

namespace flashconvert::survey {

ProbeSite describe_for_probe(const SiteWalk& walk, const BuiltSite& built, const MethodFacts& facts);

// A mask that callers hand down, drawn as they promise it.
ProbeInput assumed_mask_input(torch::jit::Value* tensor, const AssumedMask& mask);

// The size of a dimension of an operand in the operator's orientation, counted from the end.
std::optional<std::int64_t> operand_size(const Operand& operand, std::int64_t dim, const MethodFacts& facts);

}  // namespace flashconvert::survey
