// The survey: which attention a module holds, and for each site an expression that computes the same thing through
// `flashconvert::attention`. It reads the module only: every graph it changes is a working copy of its own.
#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graph/module_index.h"
#include "survey/assumed_mask.h"

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

// What spells the attention.
enum class SiteForm { kSoftmaxProduct, kSdpa, kNativeMultiHeadAttention, kEncoderLayer, kMultiHeadAttentionModule };

// One attention, and what was found out about it. What the report says of it is made from this (convert/site_report.h).
struct Site {
  SiteForm form = SiteForm::kSoftmaxProduct;
  std::string path = {};    // of the module that it is part of
  bool is_fusible = false;  // the probe has agreed
  std::string reason = {};  // why it is not fusible
  std::optional<std::int64_t> heads = {}, head_dim = {};
  std::optional<double> scale = {};
  bool is_causal = false;
  std::string bias = "none";             // as read by a person
  std::vector<Proposal> proposals = {};  // empty when it is not fusible; one an output of a site with several
  // Calls that the proposals make needless. Dead-code elimination keeps calls: accepting removes them by hand.
  std::vector<torch::jit::Node*> calls = {};
  // One attention may have several sites of which only one runs: the arms of a branch, or the fast path of one of
  // torch.nn's layers (known by its packed projection) and what the layer does instead. Where they fare alike they are
  // reported once: this is not the first of them.
  at::Tensor in_proj_weight = {};
  bool is_other_path = false;
  // Filled in by the rewrite.
  bool is_outlined = false;  // to a module with the projections (module depth), else in place (core depth)
  bool is_packed = false;    // the projections were packed into one

  void decline(const std::string& why) {
    is_fusible = false;
    reason = why;
    proposals.clear();
  }
};

// The names of the attributes that lead from a module to one below it.
using ModulePath = std::vector<std::string>;

// One method of one module instance and what was found in it. Several instances of a scripted type share one method:
// each has a MethodSurvey of its own, made from the same graph.
struct MethodSurvey {
  std::string path;           // of the module instance
  torch::jit::Module module;  // the instance
  std::string method;
  std::shared_ptr<torch::jit::Graph> graph;  // the working copy: free functions and small submodules taken in,
                                             // branches on constants and on `training` resolved as in eval mode
  std::vector<Site> sites;                   // in program order
  // The modules of which one in training mode may make the method another function than the working copy, which is that
  // of eval mode: the rewrite leaves it as it is there.
  std::vector<ModulePath> training_matters = {};
  // The method of which this is a specialised copy, with the same sites (rewrite/specialised_methods.h); else empty.
  std::string specialises = {};
};

struct Survey {
  std::vector<MethodSurvey> methods;  // those with at least one candidate site, in the order of the module tree
};

// `selected(path)` says whether sites of the module at `path` may be fused (--only, --skip); others are declined.
// `assumed_masks` is what methods may rely on.
Survey survey_attention(const ModuleIndex& index, Backend backend,
                        const std::function<bool(const std::string& path)>& selected,
                        const AssumedMasks& assumed_masks = {});

}  // namespace flashconvert::survey
