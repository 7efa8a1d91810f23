// Outlining to a module: attention whose projections can be told becomes a FusedAttention submodule (module depth).
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <optional>
#include <string>
#include <vector>

#include "report/report.h"
#include "rewrite/outline/fused_module.h"
#include "rewrite/outline/region_check.h"
#include "survey/survey.h"

namespace flashconvert::rewrite {

struct Place;

// Outlines the sites of one checkpoint, method by method, before their graphs are installed.
class Outliner {
public:
  using Methods = std::vector<survey::MethodSurvey*>;  // of one method of one type, one for each instance

  Outliner(const ModuleIndex& index, bool pack);

  // `methods` are the accepted surveys of one method of one type, one for each instance, with the same graph. For every
  // site that can be outlined exactly, in all instances alike: the first survey's graph calls a new submodule of the
  // module that holds the projections, the instances get it, and lose the layers and parameters that went into it; the
  // sites say so in all surveys. Returns the state_dict keys that changed.
  // `base`, which may be empty, is the method of which this is a specialised copy: both then call the same submodules,
  // or none.
  std::vector<report::Rename> outline(const Methods& methods, const Methods& base);

private:
  // Replaces the region around one attention node in each place. Nothing where it was not done, and then the graphs are
  // to be dropped and nothing else has changed; else whether projections were packed.
  std::optional<bool> outline_attention(const Methods& methods, std::vector<Place>& places,
                                        std::vector<report::Rename>& renamed);

  const ModuleIndex& index_;
  bool pack_;
  FusedModuleFactory factory_;
  RegionCheck check_;
};

}  // namespace flashconvert::rewrite
