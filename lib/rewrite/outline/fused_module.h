// Building FusedAttention modules: the type, compiled once for all modules of the same form, and the instances with
// their parameters.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <map>
#include <string>
#include <vector>

#include "report/report.h"
#include "rewrite/outline/fused_spec.h"

namespace flashconvert::rewrite {

// Makes the modules for one checkpoint. Modules with the same forward and the same parameters share one type,
// `__torch__.flashconvert.FusedAttention` (mangled from the second form on), in the checkpoint's compilation unit.
class FusedModuleFactory {
public:
  explicit FusedModuleFactory(std::shared_ptr<torch::jit::CompilationUnit> unit) : unit_(std::move(unit)) {}

  // A module with the parameters that `self`'s projections have. A parameter that is taken as a whole is the same
  // tensor; packed ones are new. Throws c10::Error where tensors that should be packed differ in dtype or device.
  torch::jit::Module make(const FusedSpec& spec, const torch::jit::Module& self);

private:
  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  std::map<std::string, c10::ClassTypePtr> types_;  // by source and attribute names
};

// The state_dict keys that go and those that come, with the module at `path` below the one at `self_path`.
std::vector<report::Rename> renames_of(const FusedSpec& spec, const std::string& self_path,
                                       const std::string& fused_path);

}  // namespace flashconvert::rewrite
