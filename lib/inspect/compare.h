// What two checkpoints differ in, module by module.
#pragma once

#include <string>
#include <vector>

#include "inspect/inspect.h"

namespace flashconvert::inspect {

// One row of code side by side; where a side has no line, `has_…` is false.
struct CodeRow {
  std::string before, after;
  bool has_before = true, has_after = true;
  bool is_change() const { return !has_before || !has_after || before != after; }
};

struct MethodChange {
  std::string name;
  std::vector<CodeRow> rows;
};

struct ModuleChange {
  std::string path;
  std::string type_before, type_after;    // empty: the module is in the other checkpoint alone
  std::vector<std::string> tensors_gone;  // "weight float32[16, 16]"
  std::vector<std::string> tensors_new;
  std::vector<std::string> tensors_changed;  // the same name and shape, other values
  std::vector<MethodChange> methods;
};

// The modules that differ, those of `before` in order and then what is new. Lines of code are compared as they are
// printed, without the numbers that tell instances of a type apart.
std::vector<ModuleChange> differences(const Inspection& before, const Inspection& after);

}  // namespace flashconvert::inspect
