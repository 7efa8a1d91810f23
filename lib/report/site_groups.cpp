#include "report/site_groups.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "report/format.h"
#include "report/writers.h"

namespace flashconvert::report {
namespace {

// A part of a path: a name, or the numbers that stand in its place.
struct PathPart {
  std::string name;
  std::set<int> numbers;
  bool operator==(const PathPart& other) const { return name == other.name && numbers == other.numbers; }
};

struct PathGroup {
  std::vector<PathPart> parts;
  std::string text;  // what the console says of the site
  const AttentionEntry* first;
  int sites;
};

std::vector<PathPart> parts_of(const std::string& path) {
  std::vector<PathPart> parts;
  std::istringstream words(path);
  for (std::string word; std::getline(words, word, '.');) {
    const bool is_number =
        !word.empty() && word.size() <= 6 && word.find_first_not_of("0123456789") == std::string::npos;
    parts.push_back(is_number ? PathPart{"", {std::stoi(word)}} : PathPart{word, {}});
  }
  return parts;
}

// Whether two groups differ in the numbers of part `place` alone.
bool differ_only_in(const PathGroup& a, const PathGroup& b, std::size_t place) {
  if (a.text != b.text || a.parts.size() != b.parts.size() || place >= a.parts.size()) return false;
  if (a.parts[place].numbers.empty() || b.parts[place].numbers.empty()) return false;
  for (std::size_t i = 0; i < a.parts.size(); ++i) {
    if (i != place && !(a.parts[i] == b.parts[i])) return false;
  }
  return true;
}

std::vector<PathGroup> merged_at(std::size_t place, const std::vector<PathGroup>& groups) {
  std::vector<PathGroup> merged;
  for (const auto& group : groups) {
    const auto like = std::find_if(merged.begin(), merged.end(),
                                   [&](const PathGroup& other) { return differ_only_in(other, group, place); });
    if (like == merged.end()) {
      merged.push_back(group);
      continue;
    }
    like->parts[place].numbers.insert(group.parts[place].numbers.begin(), group.parts[place].numbers.end());
    like->sites += group.sites;
  }
  return merged;
}

// {0–3,7}
std::string spelled(const std::set<int>& numbers) {
  if (numbers.size() == 1) return std::to_string(*numbers.begin());
  std::vector<std::string> runs;
  for (auto it = numbers.begin(); it != numbers.end();) {
    const int first = *it;
    int last = first;
    while (++it != numbers.end() && *it == last + 1) last = *it;
    runs.push_back(first == last ? std::to_string(first) : fmt::format("{}–{}", first, last));
  }
  return fmt::format("{{{}}}", fmt::join(runs, ","));
}

std::string name_of(const PathGroup& group) {
  std::string path;
  for (const auto& part : group.parts) {
    path += (path.empty() ? "" : ".") + (part.numbers.empty() ? part.name : spelled(part.numbers));
  }
  return site_name(path, group.first->method);
}

}  // namespace

std::vector<SiteGroup> group_fused_sites(const std::vector<AttentionEntry>& sites) {
  std::vector<PathGroup> groups;
  std::size_t deepest = 0;
  for (const auto& site : sites) {
    if (site.status != SiteStatus::kFused) continue;
    const std::string depth = site.depth ? name(*site.depth) : "";
    groups.push_back({parts_of(site.path), site.method + " " + depth + " " + site_description(site), &site, 1});
    deepest = std::max(deepest, groups.back().parts.size());
  }
  // The innermost number first: stages of different depth group their own blocks, then stages alike each other.
  for (std::size_t place = deepest; place-- > 0;) groups = merged_at(place, groups);

  std::vector<SiteGroup> named;
  named.reserve(groups.size());
  for (const auto& group : groups) named.push_back({name_of(group), group.first, group.sites});
  return named;
}

}  // namespace flashconvert::report
