#include "common/glob.h"

#include <algorithm>

namespace flashconvert {
namespace {

// Length of the set that opens `pattern` ("[a-z]": 5), or 0 when its bracket never closes and stands for itself.
std::size_t set_length(std::string_view pattern) {
  std::size_t end = 1;
  if (end < pattern.size() && pattern[end] == '!') ++end;
  if (end < pattern.size() && pattern[end] == ']') ++end;  // a first bracket is a member
  while (end < pattern.size() && pattern[end] != ']') ++end;
  return end < pattern.size() ? end + 1 : 0;
}

bool set_contains(std::string_view set, char c) {
  set = set.substr(1, set.size() - 2);
  const bool negated = set.size() > 1 && set.front() == '!';
  if (negated) set.remove_prefix(1);
  bool found = false;
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (i + 2 < set.size() && set[i + 1] == '-') {
      found = found || (set[i] <= c && c <= set[i + 2]);
      i += 2;
    } else {
      found = found || set[i] == c;
    }
  }
  return found != negated;
}

// How many characters of `pattern` the character `c` consumes; 0 when it does not match.
std::size_t match_one(std::string_view pattern, char c) {
  if (pattern.front() == '?') return 1;
  if (pattern.front() == '[') {
    if (const std::size_t length = set_length(pattern)) return set_contains(pattern.substr(0, length), c) ? length : 0;
  }
  return pattern.front() == c ? 1 : 0;
}

}  // namespace

// Greedy, going back to the last star alone: linear for the globs that people write, never exponential.
bool glob_match(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
      continue;
    }
    const std::size_t consumed = p < pattern.size() ? match_one(pattern.substr(p), text[t]) : 0;
    if (consumed > 0) {
      p += consumed;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool glob_selects(std::string_view pattern, std::string_view path) {
  for (std::size_t end = path.find('.'); end != std::string_view::npos; end = path.find('.', end + 1)) {
    if (glob_match(pattern, path.substr(0, end))) return true;
  }
  return glob_match(pattern, path);
}

bool path_selected(const std::vector<std::string>& only, const std::vector<std::string>& skip, std::string_view path) {
  const auto selects = [path](const std::string& pattern) { return glob_selects(pattern, path); };
  return (only.empty() || std::any_of(only.begin(), only.end(), selects)) &&
         std::none_of(skip.begin(), skip.end(), selects);
}

}  // namespace flashconvert
