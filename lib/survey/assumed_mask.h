// Masks that an outer module builds and hands down to the attention of its submodules, as the decoders of Hugging
// Face's transformers have it. A method that is called with one alone may rely on what is known of it
// (rewrite/specialised_methods.h makes such methods).
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstddef>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace flashconvert {
class GraphFacts;
}

namespace flashconvert::survey {

// An added mask: each entry is 0 or `lowest`, and row i has `lowest` for all keys after the i-th.
struct AssumedMask {
  double lowest = -std::numeric_limits<double>::infinity();
  bool is_causal = false;  // it is 0 for all other keys
};

// What holds of the arguments of methods: by type and name, and by the place among the inputs (0 is `self`).
using AssumedMasks = std::map<std::pair<const c10::ClassType*, std::string>, std::map<std::size_t, AssumedMask>>;

// What the value is at all lengths: a causal mask made of nothing but sizes, constants and buffers, whatever spells it
// (it is run), or a clone of one into which `lowest` is written in further places. Nothing where it is neither.
std::optional<AssumedMask> read_built_mask(torch::jit::Value* mask, const GraphFacts& facts);

// What the mask is cut from at its right and lower ends, and given further dimensions in front: a AssumedMask stays
// one.
torch::jit::Value* uncut_mask(torch::jit::Value* mask, const GraphFacts& facts);

}  // namespace flashconvert::survey
