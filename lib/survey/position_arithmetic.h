// Which masks a finite set of lengths tells everything about.
//
// A band along the diagonal is read from a mask by running it (mask_pattern.h). That proves it for all lengths only
// where the mask compares sums: positions, lengths and constants, added and subtracted. Then each comparison changes
// along a line of slope one whose offset is a sum of the constants, and beyond the largest such sum nothing new can
// happen. A quotient, remainder, multiple, root or logarithm of a position moves that place anywhere, and so does a
// number format that wraps or rounds. Such masks are no bands, whatever they look like at small lengths.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include "graph/graph_facts.h"

namespace flashconvert::survey {

// What a value of a mask is for: to be compared, or to be added to scores. Slopes over distances (ALiBi) may be added.
enum class MaskRole { kCompared, kAdded };

// The role of an operand of a value in this role.
MaskRole role_of_operand(const torch::jit::Node* node, std::size_t operand, MaskRole role);

// Whether the operator, one of those that a mask is made of, compares and adds positions and lengths alone. What it
// does to numbers that are constants, and to masks, does not matter.
bool is_position_arithmetic(torch::jit::Node* node, MaskRole role, const GraphFacts& facts);

}  // namespace flashconvert::survey
