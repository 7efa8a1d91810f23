#include "report/wrap.h"

#include <algorithm>

namespace flashconvert::report {

std::size_t shown_width(std::string_view text) {
  std::size_t width = 0;
  bool in_sequence = false;
  for (const char c : text) {
    if (c == '\x1b') {
      in_sequence = true;
    } else if (in_sequence) {
      in_sequence = c != 'm';
    } else if ((static_cast<unsigned char>(c) & 0xC0U) != 0x80U) {  // not a continuation byte
      ++width;
    }
  }
  return width;
}

std::vector<std::string> wrapped(const std::string& line, std::size_t width, std::size_t indent) {
  if (width == 0 || shown_width(line) <= width) return {line};
  const std::string margin(std::min(indent, width / 2), ' ');
  std::vector<std::string> parts(1);
  for (std::size_t start = 0; start < line.size();) {
    // A word with the spaces before it.
    const std::size_t word = std::min(line.find_first_not_of(' ', start), line.size());
    const std::size_t end = std::min(line.find(' ', word), line.size());
    const std::string_view piece = std::string_view(line).substr(start, end - start);
    const bool begins_a_line = parts.back().find_first_not_of(' ') == std::string::npos;
    if (!begins_a_line && shown_width(parts.back()) + shown_width(piece) > width) {
      parts.push_back(margin + line.substr(word, end - word));
    } else {
      parts.back() += piece;
    }
    start = end;
  }
  return parts;
}

}  // namespace flashconvert::report
