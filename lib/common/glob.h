// Globs over module paths, for --only and --skip.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace flashconvert {

// `*` stands for any characters, dots included; `?` for one; `[abc]`, `[a-z]` and `[!a-z]` for one of a set.
bool glob_match(std::string_view pattern, std::string_view text);

// A pattern selects the modules whose path it matches and everything below them: "encoder" and "enc*" select
// "encoder.layers.3.attn".
bool glob_selects(std::string_view pattern, std::string_view path);

// Selected by `only` (all of it when there is none) and by none of `skip`.
bool path_selected(const std::vector<std::string>& only, const std::vector<std::string>& skip, std::string_view path);

}  // namespace flashconvert
