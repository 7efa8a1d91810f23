// Module depth: attention whose projections can be told becomes a FusedAttention submodule.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <optional>
#include <string>
#include <vector>

#include "report/report.h"
#include "rewrite/module_depth/fused_module.h"
#include "rewrite/module_depth/piece_check.h"
#include "rewrite/module_depth/usage_index.h"
#include "survey/survey.h"

namespace flashconvert::rewrite {

struct Place;

// Deepens the sites of one checkpoint, method by method, before their graphs are installed.
class Deepener {
public:
  using Methods = std::vector<survey::MethodSurvey*>;  // of one method of one type, one for each instance

  Deepener(const torch::jit::Module& root, bool pack);

  // `methods` are the accepted surveys of one method of one type, one for each instance, with the same graph. For every
  // site that can be deepened exactly, in all instances alike: the first survey's graph calls a new submodule of the
  // module that holds the projections, the instances get it, and lose the layers and parameters that went into it; the
  // entries of the site say so in all surveys. Returns the state_dict keys that changed.
  // `base`, which may be empty, is the method of which this is the twin: both then call the same submodules, or none.
  std::vector<report::Rename> deepen(const Methods& methods, const Methods& base);

private:
  // Replaces the region around one attention node in each place. Nothing where it was not done, and then the graphs are
  // to be dropped and nothing else has changed; else whether projections were packed.
  std::optional<bool> deepen_attention(const Methods& methods, std::vector<Place>& places,
                                       std::vector<report::Rename>& renamed);

  torch::jit::Module root_;
  bool pack_;
  UsageIndex usage_;
  FusedModuleFactory factory_;
  PieceCheck check_;
};

}  // namespace flashconvert::rewrite
