// Lines that fit a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace flashconvert::report {

// The columns that UTF-8 text takes on a terminal; colour sequences take none.
std::size_t shown_width(std::string_view text);

// Breaks a line between words so that each part takes at most `width` columns; parts after the first begin with
// `indent` spaces. A longer word, such as a path, stays whole. A width of 0 is no limit.
std::vector<std::string> wrapped(const std::string& line, std::size_t width, std::size_t indent);

}  // namespace flashconvert::report
