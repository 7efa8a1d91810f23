// aten::scaled_dot_product_attention: the same function with zeros for rows in which every key is masked, and
// 1/sqrt(head_dim) where no scale is given.
#include "survey/rules/sdpa.h"

#include <cmath>

#include "survey/probe.h"
#include "survey/rules/rules.h"
#include "survey/site_builder.h"

namespace flashconvert::survey {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// 1 / sqrt(query.size(-1)), as a float in the graph.
Value* default_scale(Graph& graph, Value* query) {
  Value* size = graph.insert(c10::aten::size, {query, c10::IValue(-1)});
  return graph.insert(c10::Symbol::fromQualString("aten::pow"), {size, c10::IValue(-0.5)});
}

}  // namespace

Site survey_sdpa(Node* node, const std::shared_ptr<Graph>& graph, const GraphFacts& facts, Backend backend) {
  // query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
  Site site;
  site.entry.form = "sdpa";
  try {
    if (backend == Backend::kPortable)
      throw Declined("scaled_dot_product_attention is what the portable backend calls");
    Value* query = node->input(0);
    Value* key = node->input(1);
    Value* value = node->input(2);
    const auto dropout = facts.number(node->input(4));
    if (!dropout || *dropout != 0) throw Declined("dropout of the attention weights is active");
    torch::jit::WithInsertPoint here(node);
    AttentionArguments arguments;
    arguments.zero_masked_rows = true;
    const auto causal = facts.boolean(node->input(5));
    if (causal) {
      arguments.causal = *causal;
    } else {
      arguments.dynamic_causal = node->input(5);
    }
    const auto head_dim = facts.size_from_end(query, -1);
    if (!facts.is_none(node->input(6))) {
      const auto scale = facts.number(node->input(6));
      if (!scale) throw Declined("the scale is a number that is computed at run time");
      arguments.scale = *scale;
    } else if (head_dim) {
      arguments.scale = 1 / std::sqrt(static_cast<double>(*head_dim));
    } else {
      arguments.dynamic_scale = default_scale(*graph, query);
    }
    Value* mask = facts.is_none(node->input(3)) ? nullptr : node->input(3);
    const auto grouped = facts.boolean(node->input(7));
    std::int64_t repeats = 1;
    const auto keys = repeated_heads(key, facts);
    const auto values = repeated_heads(value, facts);
    Value* key_heads = key;
    Value* value_heads = value;
    if (keys && values && keys->times == values->times) {
      repeats = keys->times;
      key_heads = keys->heads;
      value_heads = values->heads;
    }
    Node* attention = insert_attention(*graph, backend, query, key_heads, value_heads, mask, arguments);
    attention->output()->setDebugName("context");

    site.entry.heads = facts.size_from_end(query, -3);
    site.entry.head_dim = head_dim;
    if (!arguments.dynamic_scale) site.entry.scale = arguments.scale;
    site.entry.causal = arguments.causal;
    site.entry.bias = mask ? "mask" : "none";

    ProbeSite probed;
    probed.original = node->output();
    probed.replacement = attention->output();
    for (const auto& [operand, use] : {std::pair{query, ProbeInput::Use::kQuery},
                                       {key_heads, ProbeInput::Use::kKey},
                                       {value_heads, ProbeInput::Use::kValue}}) {
      bool known = false;
      for (const ProbeInput& input : probed.inputs) known = known || input.value == operand;
      if (!known) probed.inputs.push_back({operand, use, {}, false});
    }
    if (repeats > 1) {
      for (Value* repeated : {key, value}) {
        if (repeated->node()->kind() != c10::aten::reshape) continue;
        probed.sizes.push_back({repeated->node()->input(1), false});
        probed.sizes.push_back({repeated->node()->input(0)->node()->input(1), false});
      }
    }
    if (mask) {
      const auto shape = facts.shape(mask);
      if (shape && shape->size() >= 2) {
        if (shape->back() != 1) probed.key_length = shape->back();
        if ((*shape)[shape->size() - 2] != 1) probed.query_length = (*shape)[shape->size() - 2];
        if (shape->size() >= 3 && (*shape)[shape->size() - 3] != 1) probed.heads = (*shape)[shape->size() - 3];
      } else {
        probed.inputs.push_back({mask, ProbeInput::Use::kAdditive, {}, false});
      }
    }
    if (!probed.head_dim) probed.head_dim = head_dim;
    if (!probed.heads) probed.heads = site.entry.heads;
    if (const auto length = facts.size_from_end(query, -2); length && !probed.query_length)
      probed.query_length = length;
    if (const auto length = facts.size_from_end(key_heads, -2); length && !probed.key_length)
      probed.key_length = length;
    probed.value_dim = facts.size_from_end(value_heads, -1);
    probed.repeats = grouped && *grouped && repeats == 1 ? 1 : repeats;
    auto rank = facts.rank(query);
    if (!rank) rank = facts.rank(key);
    probed.ranks = rank ? std::vector<std::int64_t>{*rank} : std::vector<std::int64_t>{4, 3};
    if (const auto disagreement = probe(probed, facts)) throw Declined(*disagreement);
    site.entry.status = report::SiteStatus::kFused;
    site.proposals.push_back({node->output(), attention->output(), {attention}});
  } catch (const Declined& declined) {
    site.entry.reason = declined.what();
  }
  return site;
}

}  // namespace flashconvert::survey
