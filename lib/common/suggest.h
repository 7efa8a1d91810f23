// "Did you mean …?": the nearest of the words that would have been right.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flashconvert {

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, if it is near enough to be meant: at most a third of the word away.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace flashconvert
