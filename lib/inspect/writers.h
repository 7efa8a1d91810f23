// The forms of an inspection and of a comparison: lines for a terminal, JSON for programs.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "inspect/compare.h"
#include "inspect/inspect.h"

namespace flashconvert::inspect {

struct LineOptions {
  std::size_t width = 0;  // of the terminal; 0: unlimited
  std::size_t depth = 2;  // of the module tree that is shown
  bool color = false;
};

std::vector<std::string> lines_of(const Inspection& inspection, const LineOptions& options);
std::string json_of(const Inspection& inspection);

// Side by side: a column for each checkpoint, `|` between them where a line is another, `<` and `>` where one of
// them has it alone. Unchanged code further than three lines from a change is left out.
std::vector<std::string> lines_of(const std::vector<ModuleChange>& changes, const LineOptions& options);
std::string json_of(const std::vector<ModuleChange>& changes);

}  // namespace flashconvert::inspect
