// The survey: which attention a module holds, and for each site an expression that computes the same thing through
// `flashconvert::attention`. It reads the module only: every graph it changes is a working copy of its own.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "report/report.h"
#include "survey/handed_mask.h"

namespace flashconvert::survey {

// The operator that fused sites call (runtime/ registers it). Its arguments, in order: query, key, value, bias, scale,
// causal, window, softcap, zero_masked_rows, bottom_right.
inline constexpr const char* kAttentionOperator = "flashconvert::attention";

enum class Backend { kFlash, kPortable };

// One proposed replacement. In the working copy of the method's graph, `replacement` computes what `original` computes;
// its nodes stand just before the site and are not used by anything yet. Accepting it is
// `original->replaceAllUsesWith(replacement)` followed by dead-code elimination; declining it is dead-code elimination.
struct Proposal {
  torch::jit::Value* original = nullptr;
  torch::jit::Value* replacement = nullptr;
  std::vector<torch::jit::Node*> attention;  // the flashconvert::attention nodes of the replacement
};

struct Site {
  report::AttentionEntry entry;     // status kFused here means "can be fused"; the probe has agreed
  std::vector<Proposal> proposals;  // empty when declined; one an output of a site with several
  // Calls that the proposals make needless. Dead-code elimination keeps calls: accepting removes them by hand.
  std::vector<torch::jit::Node*> calls = {};
  // One attention may have several sites of which only one runs: the arms of a branch, or the fast path of one of
  // torch.nn's layers (known by its packed projection) and what the layer does instead. Where they fare alike they are
  // reported once: this is not the first of them.
  at::Tensor in_proj_weight = {};
  bool is_other_path = false;
};

// One method of one module instance and what was found in it. Several instances of a scripted type share one method:
// each has a MethodSurvey of its own, made from the same graph.
struct MethodSurvey {
  std::string path;           // of the module instance
  torch::jit::Module module;  // the instance
  std::string method;
  std::shared_ptr<torch::jit::Graph> graph;  // the working copy: free functions and transparent submodules inlined,
                                             // branches on constants and on `training` resolved as in eval mode
  std::vector<Site> sites;                   // in program order
  std::string twin_of =
      {};  // the method in whose place callers run this one, with the same sites (rewrite/hand_down.h)
};

struct Survey {
  std::vector<MethodSurvey> methods;  // those with at least one candidate site, in the order of the module tree
};

// `selected(path)` says whether sites of the module at `path` may be fused (--only, --skip); others are declined.
// `handed_masks` is what methods may rely on.
Survey survey_attention(const torch::jit::Module& root, Backend backend,
                        const std::function<bool(const std::string& path)>& selected,
                        const HandedMasks& handed_masks = {});

}  // namespace flashconvert::survey
