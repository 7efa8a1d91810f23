#include "inspect/compare.h"

#include <algorithm>
#include <sstream>

#include "report/format.h"

namespace flashconvert::inspect {
namespace {

using Lines = std::vector<std::string>;

Lines split(const std::string& code) {
  Lines lines;
  std::istringstream text(code);
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// length[i][j]: of the longest common subsequence of before[i…] and after[j…].
std::vector<std::vector<std::uint32_t>> common_lengths(const Lines& before, const Lines& after) {
  std::vector<std::vector<std::uint32_t>> length(before.size() + 1, std::vector<std::uint32_t>(after.size() + 1, 0));
  for (std::size_t i = before.size(); i-- > 0;) {
    for (std::size_t j = after.size(); j-- > 0;) {
      length[i][j] = before[i] == after[j] ? length[i + 1][j + 1] + 1 : std::max(length[i + 1][j], length[i][j + 1]);
    }
  }
  return length;
}

std::vector<CodeRow> side_by_side(const Lines& before, const Lines& after) {
  // A table of more cells than this is not worth its memory: the two are then shown one after the other.
  constexpr std::size_t kMostCells = 25'000'000;
  const bool is_aligned = before.size() * after.size() <= kMostCells;
  const auto length = is_aligned ? common_lengths(before, after) : std::vector<std::vector<std::uint32_t>>();
  std::vector<CodeRow> rows;
  Lines gone, added;
  // What replaces something stands beside it.
  const auto flush = [&] {
    for (std::size_t k = 0; k < std::max(gone.size(), added.size()); ++k) {
      const bool has_before = k < gone.size(), has_after = k < added.size();
      rows.push_back({has_before ? gone[k] : "", has_after ? added[k] : "", has_before, has_after});
    }
    gone.clear();
    added.clear();
  };
  std::size_t i = 0, j = 0;
  while (i < before.size() || j < after.size()) {
    const bool both = i < before.size() && j < after.size();
    if (both && before[i] == after[j]) {
      flush();
      rows.push_back({before[i++], after[j++], true, true});
    } else if (i < before.size() && (!both || !is_aligned || length[i + 1][j] >= length[i][j + 1])) {
      gone.push_back(before[i++]);
    } else {
      added.push_back(after[j++]);
    }
  }
  flush();
  return rows;
}

Lines tensor_lines(const ModuleFacts& module) {
  Lines lines;
  for (const auto& tensor : module.tensors) {
    lines.push_back(tensor.name + " " + tensor.dtype + report::shape_text(tensor.shape));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

Lines only_in(const Lines& some, const Lines& others) {
  Lines rest;
  std::set_difference(some.begin(), some.end(), others.begin(), others.end(), std::back_inserter(rest));
  return rest;
}

Lines changed_values(const ModuleFacts& before, const ModuleFacts& after) {
  Lines changed;
  for (const auto& tensor : before.tensors) {
    for (const auto& other : after.tensors) {
      const bool is_same_kind = tensor.name == other.name && tensor.dtype == other.dtype && tensor.shape == other.shape;
      if (is_same_kind && tensor.content != other.content) changed.push_back(tensor.name);
    }
  }
  return changed;
}

std::string code_of_method(const ModuleFacts& module, const std::string& name) {
  for (const auto& [method, code] : module.methods) {
    if (method == name) return code;
  }
  return "";
}

ModuleChange compare_modules(const ModuleFacts& before, const ModuleFacts& after) {
  ModuleChange change;
  change.type_before = before.type;
  change.type_after = after.type;
  change.tensors_gone = only_in(tensor_lines(before), tensor_lines(after));
  change.tensors_new = only_in(tensor_lines(after), tensor_lines(before));
  change.tensors_changed = changed_values(before, after);
  Lines names;
  for (const auto* module : {&before, &after}) {
    for (const auto& method : module->methods) {
      if (std::find(names.begin(), names.end(), method.first) == names.end()) names.push_back(method.first);
    }
  }
  for (const auto& name : names) {
    const std::string old_code = code_of_method(before, name), new_code = code_of_method(after, name);
    if (old_code != new_code) change.methods.push_back({name, side_by_side(split(old_code), split(new_code))});
  }
  return change;
}

const ModuleFacts* find(const Inspection& inspection, const std::string& path) {
  for (const auto& module : inspection.modules) {
    if (module.path == path) return &module;
  }
  return nullptr;
}

}  // namespace

std::vector<ModuleChange> differences(const Inspection& before, const Inspection& after) {
  static const ModuleFacts kNone;
  std::vector<ModuleChange> changes;
  const auto add = [&](const std::string& path, const ModuleFacts& old_one, const ModuleFacts& new_one) {
    ModuleChange change = compare_modules(old_one, new_one);
    change.path = path;
    const bool differs = change.type_before != change.type_after || !change.tensors_gone.empty() ||
                         !change.tensors_new.empty() || !change.tensors_changed.empty() || !change.methods.empty();
    if (differs) changes.push_back(std::move(change));
  };
  for (const auto& module : before.modules) {
    const ModuleFacts* other = find(after, module.path);
    add(module.path, module, other == nullptr ? kNone : *other);
  }
  for (const auto& module : after.modules) {
    if (find(before, module.path) == nullptr) add(module.path, kNone, module);
  }
  return changes;
}

}  // namespace flashconvert::inspect
