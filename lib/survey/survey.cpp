// The survey of a module's methods (survey.h): canonicalise, walk, build, probe.
#include "survey/survey.h"

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <unordered_set>

#include "common/log.h"
#include "common/module_path.h"
#include "graph/calls.h"
#include "graph/traversal.h"
#include "survey/branches.h"
#include "survey/canonicalise.h"
#include "survey/method_facts.h"
#include "survey/one_thread.h"
#include "survey/probe.h"
#include "survey/probe_memory.h"
#include "survey/rules/attention_layer.h"
#include "survey/rules/fast_path.h"
#include "survey/rules/fused_operators.h"
#include "survey/rules/rules.h"
#include "survey/site_builder.h"
#include "survey/site_probe.h"

namespace flashconvert::survey {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

void collect_candidates(Block* block, std::vector<Node*>& candidates) {
  for (Node* node : block->nodes()) {
    if (is_fast_path(node) && is_kept_for_nested_tensors(node)) continue;
    if (is_softmax(node) || is_fused_operator(node) || is_attention_layer_call(node)) candidates.push_back(node);
    for (Block* inner : node->blocks()) collect_candidates(inner, candidates);
  }
}

// The softmax must run over the keys, which are the last dimension of the scores.
void check_softmax_dimension(const Node* softmax, const MethodFacts& facts) {
  const auto dim = facts.integer(softmax->input(1));
  if (!dim) throw Declined("the softmax's dimension is not a constant");
  const auto rank = facts.rank(softmax->input(0));
  if (*dim == -1 || (rank && *dim == *rank - 1)) return;
  if (*dim >= 2 && !rank) return;  // the last of an unknown rank, or not: the probe decides
  throw Declined("the softmax runs over dimension " + std::to_string(*dim) + ", not over the keys");
}

// The scores themselves must not be seen by anything else: they would still have to be computed.
void check_outside_uses(const SiteWalk& site) {
  std::unordered_set<const Node*> inside(site.path.begin(), site.path.end());
  inside.insert(site.softmax);
  for (const Node* node : site.path) {
    if (node == site.value_product) continue;
    for (const Value* output : node->outputs()) {
      for (const auto& use : output->uses()) {
        if (exclude_each_other(use.user, site.softmax)) continue;  // another arm of a branch, a site of its own
        if (inside.count(use.user) || (use.offset == 0 && has_trait(use.user, kAsks))) continue;
        if (is_any_of(use.user, {"aten::expand_as"}) && use.offset == 1) continue;  // its sizes alone
        if (use.user->kind() == c10::prim::ListConstruct) continue;                 // the operands of an einsum
        throw Declined("the attention scores are used elsewhere");
      }
    }
  }
}

// The nodes between the first of what the replacement passes over and the second product, wherever they stand.
std::vector<Node*> nodes_passed_over(const SiteWalk& site, const BuiltSite& built, Graph& graph) {
  Node* first = site.score_product;
  for (Node* node : built.passed) first = node->isBefore(first) ? node : first;
  if (first == site.score_product) return nodes_between(first, site.value_product);
  std::vector<Node*> nodes;
  for_each_node(graph.block(), [&](Node* node) {
    if (node->isAfter(first) && node->isBefore(site.value_product)) nodes.push_back(node);
  });
  return nodes;
}

// Nothing between the first product and the second may write to what the replacement reads there.
void check_writers(const SiteWalk& site, const BuiltSite& built, Graph& graph) {
  const std::vector<Node*> nodes = nodes_passed_over(site, built, graph);
  const bool has_writers = std::any_of(nodes.begin(), nodes.end(), [](const Node* node) {
    const auto* schema = node->maybeSchema();
    return schema && schema->is_mutable();
  });
  if (!has_writers) return;
  torch::jit::AliasDb aliases(graph.shared_from_this());
  std::vector<Value*> read{built.query.root, built.key.root, built.value.root};
  for (const ScoreTerm& term : site.terms) read.push_back(term.tensor);
  if (site.assumed_mask) read.push_back(site.assumed_mask);
  for (Node* node : nodes) {
    if (is_call(node) && !may_write(node)) continue;  // alias analysis takes every call for a writer
    for (Value* value : read) {                       // writes before the value is there are part of it
      const bool is_later = value->node()->kind() == c10::prim::Param || node->isAfter(value->node());
      if (is_later && aliases.writesToAlias(node, {value}))
        throw Declined("an operand is modified in place by " + kind_name(node));
    }
  }
}

// Softmax over features: what stands in the operand's length dimension is the last dimension of the view that split the
// heads, and the product contracts the sequence.
void check_is_not_channel_attention(const BuiltSite& built, const MethodFacts& facts) {
  const auto rows_are_features = [&](const Operand& operand) {
    std::int64_t dim = operand.swap_last ? -1 : -2;
    const auto rank = static_cast<std::int64_t>(operand.order.size());
    if (rank > 0) dim = operand.order[rank - 2] - rank;
    return facts.dim_in_view(operand.root, dim) == -1;
  };
  if (rows_are_features(built.query) && rows_are_features(built.key)) {
    throw Declined("channel attention: the softmax runs over features");
  }
}

// A bias with more dimensions than the scores broadcasts them up; the operator's result has those of its operands.
void check_bias_ranks(const SiteWalk& walk, const BuiltSite& built, const MethodFacts& facts) {
  if (!built.leading_sizes.empty()) return;  // the layout that the scores are reshaped to has more
  std::optional<std::int64_t> rank = facts.rank(built.query.root);
  if (!rank && !built.query.order.empty()) rank = static_cast<std::int64_t>(built.query.order.size());
  for (const ScoreTerm& term : walk.terms) {
    const auto of_term = facts.rank(term.tensor);
    if (rank && of_term && *of_term > *rank) throw Declined("a bias has more dimensions than the scores");
  }
}

// An einsum takes a dimension of one element for one of any size: where queries stand in the keys' place, that of the
// weights is as long as there are queries.
void check_value_length(const SiteWalk& walk, const BuiltSite& built, const MethodFacts& facts) {
  if (walk.value_product->kind() != aten::einsum || built.query.root != built.key.root) return;
  if (!(length_of(built.key, facts) == length_of(built.value, facts)))
    throw Declined("an einsum of weights and values of lengths that are not known to be one");
}

std::string describe_bias(const SiteWalk& walk) {
  bool additive = false;
  bool mask = false;
  for (const ScoreTerm& term : walk.terms) (term.kind == ScoreTerm::Kind::kAdditive ? additive : mask) = true;
  return describe_bias(walk.band, additive && mask ? "additive and mask"
                                  : additive       ? "additive"
                                  : mask           ? "boolean mask"
                                                   : "none");
}

// Builds the site as it was walked and probes it. Throws Declined.
void propose(SiteWalk walk, const std::shared_ptr<Graph>& graph, const MethodFacts& facts, Backend backend,
             Site& site) {
  const BuiltSite built = build_site(walk, *graph, facts, backend);
  check_is_not_channel_attention(built, facts);
  check_bias_ranks(walk, built, facts);
  check_value_length(walk, built, facts);
  check_writers(walk, built, *graph);
  site.heads = operand_size(built.query, -3, facts);
  if (!built.leading_sizes.empty() && !site.heads) site.heads = facts.integer(built.leading_sizes.back());
  site.head_dim = operand_size(built.query, -1, facts);
  if (!site.head_dim) site.head_dim = operand_size(built.key, -1, facts);
  if (walk.scale_factors.empty()) site.scale = walk.scale * walk.query_scale * walk.key_scale;
  site.is_causal = walk.band.is_causal() || walk.assumed_mask;
  site.bias = describe_bias(walk);
  if (const auto disagreement = probe(describe_for_probe(walk, built, facts), facts)) throw Declined(*disagreement);
  site.is_fusible = true;
  site.proposals.push_back({walk.output, built.replacement, {built.attention}});
}

// With what the masks say of positions as a band, or, where that does not hold, with all of it in the bias.
void propose_best(const SiteWalk& walk, const std::shared_ptr<Graph>& graph, const MethodFacts& facts, Backend backend,
                  Site& site) {
  const Positions positions = separate_positions(walk.terms, walk.query, walk.key, facts);
  const bool in_one_layout = walk.levels.empty() || !positions.assumed_mask;
  if (positions.say_something() && in_one_layout) {
    SiteWalk banded = walk;
    banded.band = positions.band;
    banded.assumed_mask = positions.assumed_mask;
    banded.terms = positions.rest;
    try {
      return propose(banded, graph, facts, backend, site);
    } catch (const Declined& declined) {
      log_detail("a mask by positions stays a bias: " + std::string(declined.what()));
    }
  }
  propose(walk, graph, facts, backend, site);
}

// A site spelled as product, softmax, product. Nothing when the softmax belongs to no attention.
std::optional<Site> survey_softmax(Node* softmax, const std::shared_ptr<Graph>& graph, const MethodFacts& facts,
                                   Backend backend) {
  Site site;
  site.form = SiteForm::kSoftmaxProduct;
  SiteWalk walk;
  walk.softmax = softmax;
  const bool from_product = leads_to_product(softmax->input(0), facts);
  if (mixes_heads(softmax)) {
    site.reason = "talking heads: a linear layer mixes the heads between the products";
    return site;
  }
  try {
    if (!from_product) {
      if (!walk_weights(walk, facts)) return std::nullopt;
      throw Declined("no product of queries and keys feeds the softmax");
    }
    check_softmax_dimension(softmax, facts);
    if (!walk_weights(walk, facts)) throw Declined("the attention weights meet no product with values");
    walk.path.push_back(softmax);
    walk_scores(walk, facts);
    nodes_between(walk.score_product, walk.value_product);  // declines products that stand in different branches
    check_outside_uses(walk);
    propose_best(walk, graph, facts, backend, site);
  } catch (const Declined& declined) {
    if (!from_product && !walk.value_product) return std::nullopt;  // a softmax of something else
    site.reason = declined.what();
  }
  return site;
}

// What holds for the whole model.
struct Surroundings {
  Backend backend = Backend::kFlash;
  std::function<bool(const std::string&)> selected;
  const AssumedMasks& assumed_masks;
  const MutableAttributes* mutable_attributes = nullptr;
  std::shared_ptr<ProbeMemory> probes;
  bool has_nested_tensors = false;  // nn.TransformerEncoder packs padded batches and runs its layers on the result
};

// Whether some method makes nested tensors (nn.TransformerEncoder with a padding mask does, in eval mode).
bool uses_nested_tensors(const ModuleIndex& index) {
  return std::any_of(index.methods().begin(), index.methods().end(), [](const ModuleIndex::Method& method) {
    return any_node(method.function->graph()->block(),
                    [](const Node* node) { return is_any_of(node, {"aten::_nested_tensor_from_mask"}); });
  });
}

std::optional<Site> survey_candidate(Node* candidate, const std::shared_ptr<Graph>& graph, const MethodFacts& facts,
                                     Backend backend) {
  if (is_attention_layer_call(candidate)) return survey_attention_layer(candidate, graph, facts, backend);
  if (is_fused_operator(candidate)) return survey_fused_operator(candidate, graph, facts, backend);
  return survey_softmax(candidate, graph, facts, backend);
}

void survey_method(const torch::jit::Module& module, const std::string& path, const std::string& method,
                   const Surroundings& surroundings, Survey& survey) {
  const std::shared_ptr<Graph> graph = canonical_copy(module, method, surroundings.mutable_attributes);
  if (!graph) return;
  MethodFacts facts(module, surroundings.mutable_attributes);
  facts.remember_probes(surroundings.probes);
  if (const auto assumed = surroundings.assumed_masks.find({module.type().get(), method});
      assumed != surroundings.assumed_masks.end()) {
    for (const auto& [input, mask] : assumed->second) facts.assume(graph->inputs()[input], mask);
  }
  MethodSurvey found{path, module, method, graph, {}};
  std::vector<Node*> candidates;
  collect_candidates(graph->block(), candidates);
  std::vector<const Node*> surveyed;
  for (Node* candidate : candidates) {
    Node* before = candidate->prev();
    auto site = survey_candidate(candidate, graph, facts, surroundings.backend);
    if (!site) continue;
    site->path = join_path(path, site->path);
    if (site->is_fusible && !surroundings.selected(site->path)) site->decline("not selected");
    if (surroundings.has_nested_tensors && is_fast_path(candidate)) {
      const bool is_branch = candidate->owningBlock() != graph->block();  // the code chooses it, and may choose another
      if (is_branch) {
        keep_for_nested_tensors(*site, candidate, before);
      } else {
        site->decline("the encoder packs padded batches into nested tensors, which only the fast path takes");
      }
    }
    for (std::size_t i = 0; i < surveyed.size() && !site->is_other_path; ++i) {
      site->is_other_path = are_arms_of_one(surveyed[i], candidate) && found.sites[i].is_fusible == site->is_fusible;
    }
    surveyed.push_back(candidate);
    found.sites.push_back(std::move(*site));
  }
  if (found.sites.empty()) return;
  const auto is_fusible = [](const Site& site) { return site.is_fusible; };
  if (std::any_of(found.sites.begin(), found.sites.end(), is_fusible)) {
    found.training_matters = modules_whose_training_matters(module, method, surroundings.mutable_attributes);
  }
  survey.methods.push_back(std::move(found));
}

// A scripted nn.TransformerEncoderLayer has its fast path in one method, and in another what it does instead.
void note_other_paths(Survey& survey, std::size_t first_method) {
  for (std::size_t i = first_method; i < survey.methods.size(); ++i) {
    for (const Site& layer : survey.methods[i].sites) {
      if (layer.form != SiteForm::kEncoderLayer || !layer.is_fusible) continue;
      for (std::size_t j = first_method; j < survey.methods.size(); ++j) {
        if (j == i) continue;
        for (Site& other : survey.methods[j].sites) {
          const bool is_layer = other.form == SiteForm::kEncoderLayer;  // in a specialised copy of the method
          if (!is_layer && other.is_fusible && other.in_proj_weight.defined() &&
              other.in_proj_weight.is_same(layer.in_proj_weight)) {
            other.is_other_path = true;
          }
        }
      }
    }
  }
}

void survey_module(const Instance& instance, const Surroundings& surroundings, Survey& survey) {
  const std::size_t first_method = survey.methods.size();
  for (const auto& method : instance.module.get_methods()) {
    // Such a layer is surveyed where it is called; at the root, nothing calls it.
    const bool is_called =
        !instance.path.empty() && is_attention_layer(instance.module.type()) && method.name() == "forward";
    if (!is_called) survey_method(instance.module, instance.path, method.name(), surroundings, survey);
  }
  note_other_paths(survey, first_method);
}

}  // namespace

Survey survey_attention(const ModuleIndex& index, Backend backend,
                        const std::function<bool(const std::string& path)>& selected,
                        const AssumedMasks& assumed_masks) {
  Survey survey;
  const OneThread one_thread;
  const at::NoGradGuard no_grad;
  const Surroundings surroundings{backend,
                                  selected,
                                  assumed_masks,
                                  &index.mutable_attributes(),
                                  std::make_shared<ProbeMemory>(),
                                  uses_nested_tensors(index)};
  for (const Instance& instance : index.instances()) survey_module(instance, surroundings, survey);
  return survey;
}

}  // namespace flashconvert::survey
