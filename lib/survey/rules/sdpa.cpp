// aten::scaled_dot_product_attention: the same function with zeros for rows in which every key is masked, and
// 1/sqrt(head_dim) where no scale is given.
#include "survey/rules/sdpa.h"

#include <cmath>

#include "common/log.h"
#include "survey/mask_expression.h"
#include "survey/probe.h"
#include "survey/rules/rules.h"
#include "survey/site_builder.h"
#include "survey/site_probe.h"
#include "survey/strides.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
constexpr std::size_t kMask = 3, kDropout = 4, kCausal = 5, kScale = 6, kGrouped = 7;

struct SdpaSite {
  Node* node = nullptr;
  Value* query = nullptr;
  Value* key = nullptr;  // of Hkv heads, where they are repeated
  Value* value = nullptr;
  std::int64_t repeats = 1;
  bool is_split = false;  // the mask's part by positions is the band, and `terms` the rest
  std::vector<ScoreTerm> terms;
  Value* assumed_mask = nullptr;  // a causal mask of the caller's, in place of the terms
  AttentionArguments arguments;
  ScoreLengths lengths;
};

// 1 / sqrt(query.size(-1)), as a float in the graph.
Value* default_scale(Graph& graph, Value* query) {
  Value* size = graph.insert(c10::aten::size, {query, c10::IValue(-1)});
  return graph.insert(c10::Symbol::fromQualString("aten::pow"), {size, c10::IValue(-0.5)});
}

void read_scale(SdpaSite& sdpa, Graph& graph, const MethodFacts& facts) {
  Value* given = sdpa.node->input(kScale);
  if (!facts.is_none(given)) {
    const auto scale = facts.number(given);
    if (!scale) throw Declined("the scale is a number that is computed at run time");
    sdpa.arguments.scale = *scale;
  } else if (const auto head_dim = facts.size_from_end(sdpa.query, -1)) {
    sdpa.arguments.scale = 1 / std::sqrt(static_cast<double>(*head_dim));
  } else {
    sdpa.arguments.dynamic_scale = default_scale(graph, sdpa.query);
  }
}

SdpaSite read_arguments(Node* node, Graph& graph, const MethodFacts& facts) {
  SdpaSite sdpa;
  sdpa.node = node;
  sdpa.query = node->input(0);
  sdpa.key = node->input(1);
  sdpa.value = node->input(2);
  const auto dropout = facts.number(node->input(kDropout));
  if (!dropout || *dropout != 0) throw Declined("dropout of the attention weights is active");
  sdpa.arguments.zero_masked_rows = true;
  const auto causal = facts.boolean(node->input(kCausal));
  if (!causal) {
    sdpa.arguments.dynamic_causal = node->input(kCausal);
  } else if (*causal) {
    sdpa.arguments.band.right = 0;
  }
  read_scale(sdpa, graph, facts);
  const auto keys = repeated_heads(sdpa.key, facts);
  const auto values = repeated_heads(sdpa.value, facts);
  if (keys && values && keys->times == values->times) {
    sdpa.repeats = keys->times;
    sdpa.key = keys->heads;
    sdpa.value = values->heads;
  }
  return sdpa;
}

ScoreTerm term_of(Value* mask, ScoreTerm::Kind kind) {
  ScoreTerm term;
  term.kind = kind;
  term.tensor = mask;
  return term;
}

// The mask with what it says of positions as a band; nothing where it says nothing of them.
std::optional<SdpaSite> with_band(const SdpaSite& sdpa, const MethodFacts& facts) {
  Value* mask = sdpa.node->input(kMask);
  if (facts.is_none(mask) || sdpa.arguments.dynamic_causal || sdpa.arguments.band.limits()) return std::nullopt;
  for (const auto kind : {ScoreTerm::Kind::kVisibleWhere, ScoreTerm::Kind::kAdditive}) {  // its dtype tells which
    const Operand query{sdpa.query, {}, false};
    const Operand key{sdpa.node->input(1), {}, false};
    Positions positions = separate_positions({term_of(mask, kind)}, query, key, facts);
    if (!positions.say_something()) continue;
    SdpaSite banded = sdpa;
    banded.arguments.band = positions.band;
    banded.assumed_mask = positions.assumed_mask;
    banded.lengths = {length_of(query, facts), length_of(key, facts)};
    banded.is_split = true;
    banded.terms = positions.rest;
    return banded;
  }
  return std::nullopt;
}

// Lengths and heads that a mask of known shape fixes.
void fix_sizes(ProbeSite& probed, const std::vector<std::int64_t>& mask_shape) {
  const std::size_t rank = mask_shape.size();
  if (mask_shape[rank - 1] != 1) probed.key_length = mask_shape[rank - 1];
  if (mask_shape[rank - 2] != 1) probed.query_length = mask_shape[rank - 2];
  if (rank >= 3 && mask_shape[rank - 3] != 1) probed.heads = mask_shape[rank - 3];
}

ProbeSite describe_for_probe(const SdpaSite& sdpa, Value* replacement, const std::vector<ScoreTerm>& masks,
                             const MethodFacts& facts) {
  ProbeSite probed;
  probed.original = sdpa.node->output();
  probed.replacement = replacement;
  for (const auto& [operand, use] : {std::pair{sdpa.query, ProbeInput::Use::kQuery},
                                     {sdpa.key, ProbeInput::Use::kKey},
                                     {sdpa.value, ProbeInput::Use::kValue}}) {
    bool known = false;
    for (const ProbeInput& input : probed.inputs) known = known || input.value == operand;
    if (!known) probed.inputs.push_back({operand, use, {}, false});
  }
  for (Value* repeated : {sdpa.node->input(1), sdpa.node->input(2)}) {
    if (sdpa.repeats == 1 || repeated->node()->kind() != c10::aten::reshape) continue;
    probed.sizes.push_back({repeated->node()->input(1), false});
    probed.sizes.push_back({repeated->node()->input(0)->node()->input(1), false});
  }
  const auto whole_shape = facts.is_none(sdpa.node->input(kMask)) ? std::nullopt : facts.shape(sdpa.node->input(kMask));
  if (whole_shape && whole_shape->size() >= 2) fix_sizes(probed, *whole_shape);
  if (sdpa.assumed_mask) {
    probed.inputs.push_back(assumed_mask_input(sdpa.assumed_mask, *facts.assumed_mask(sdpa.assumed_mask)));
  }
  for (const ScoreTerm& mask : masks) {
    const auto shape = facts.shape(mask.tensor);
    if (shape && shape->size() >= 2) continue;
    if (sdpa.is_split && MaskExpression(mask.tensor, sdpa.lengths, facts).is_readable())
      continue;  // computed, not drawn
    const bool is_added = mask.kind == ScoreTerm::Kind::kAdditive;
    probed.inputs.push_back({mask.tensor, is_added ? ProbeInput::Use::kAdditive : ProbeInput::Use::kMask, {}, false});
  }
  if (!probed.head_dim) probed.head_dim = facts.size_from_end(sdpa.query, -1);
  if (!probed.heads) probed.heads = facts.size_from_end(sdpa.query, -3);
  if (!probed.query_length) probed.query_length = facts.size_from_end(sdpa.query, -2);
  if (!probed.key_length) probed.key_length = facts.size_from_end(sdpa.key, -2);
  probed.value_dim = facts.size_from_end(sdpa.value, -1);
  const auto grouped = facts.boolean(sdpa.node->input(kGrouped));
  probed.repeats = grouped && *grouped && sdpa.repeats == 1 ? 1 : sdpa.repeats;
  auto rank = facts.rank(sdpa.query);
  if (!rank) rank = facts.rank(sdpa.node->input(1));
  probed.ranks = rank ? std::vector<std::int64_t>{*rank} : std::vector<std::int64_t>{4, 3};
  return probed;
}

// Builds and probes the site; throws Declined.
void propose(const SdpaSite& sdpa, Graph& graph, const MethodFacts& facts, Backend backend, Site& site) {
  std::vector<ScoreTerm> masks = sdpa.terms;
  AttentionArguments arguments = sdpa.arguments;
  Bias bias;
  if (sdpa.assumed_mask) {
    bias = insert_assumed_mask(graph, sdpa.assumed_mask, sdpa.query, sdpa.key, arguments, facts);
  } else if (sdpa.is_split) {
    bias = insert_bias(graph, masks, nullptr, facts);
  } else if (Value* mask = sdpa.node->input(kMask); !facts.is_none(mask)) {
    bias.value = mask;
    masks = {term_of(mask, ScoreTerm::Kind::kAdditive)};
  }
  Node* attention = insert_attention(graph, backend, sdpa.query, sdpa.key, sdpa.value, bias, arguments, facts).node;
  attention->output()->setDebugName("context");
  // torch's kernels differ in how their result lies in memory: a model may view that of one which is contiguous.
  Value* result = attention->output();
  if (is_viewed_in_order(sdpa.node->output())) result = call(graph, "aten::contiguous", {result});
  site.heads = facts.size_from_end(sdpa.query, -3);
  site.head_dim = facts.size_from_end(sdpa.query, -1);
  if (!sdpa.arguments.dynamic_scale) site.scale = sdpa.arguments.scale;
  site.is_causal = sdpa.arguments.band.is_causal() || sdpa.assumed_mask;
  site.bias = describe_bias(sdpa.arguments.band, bias.value && !sdpa.assumed_mask ? "mask" : "none");
  const ProbeSite probed = describe_for_probe(sdpa, result, masks, facts);
  if (const auto disagreement = probe(probed, facts)) throw Declined(*disagreement);
  site.is_fusible = true;
  site.proposals.push_back({sdpa.node->output(), result, {attention}});
}

}  // namespace

Site survey_sdpa(Node* node, const std::shared_ptr<Graph>& graph, const MethodFacts& facts, Backend backend) {
  Site site;
  site.form = SiteForm::kSdpa;
  try {
    if (backend == Backend::kPortable)
      throw Declined("scaled_dot_product_attention is what the portable backend calls");
    torch::jit::WithInsertPoint here(node);
    const SdpaSite sdpa = read_arguments(node, *graph, facts);
    if (const auto banded = with_band(sdpa, facts)) {
      try {
        propose(*banded, *graph, facts, backend, site);
        return site;
      } catch (const Declined& declined) {
        log_detail("a mask by positions stays a bias: " + std::string(declined.what()));
      }
    }
    propose(sdpa, *graph, facts, backend, site);
  } catch (const Declined& declined) {
    site.reason = declined.what();
  }
  return site;
}

}  // namespace flashconvert::survey
