// What a method uses its inputs for, read from its graph, so that values can be drawn that fit: ids within the table
// that they index, ones and zeros for masks, lengths within the length.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace flashconvert::verify {

enum class Use {
  kPlain,         // nothing known: normal numbers, small integers
  kIndex,         // selects rows of a table: below `rows`
  kPosition,      // selects rows of a table of positions: 0, 1, 2, …
  kKeepMask,      // 1 where something counts
  kDropMask,      // 1 (true) where something is left out
  kAdditiveMask,  // added to attention scores
  kLength,        // how many steps of a sequence count
};

struct InputUse {
  Use use = Use::kPlain;
  std::optional<std::int64_t> rows;  // of the smallest table that it indexes, where that is known
};

// One entry an argument of the method (self left out). A tuple or list argument has the use of what is taken from it.
std::vector<InputUse> input_uses(const torch::jit::Module& module, const std::string& method);

}  // namespace flashconvert::verify
