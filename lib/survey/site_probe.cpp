// From a walk to what the probe draws (site_probe.h).
#include "survey/site_probe.h"

#include <utility>

#include "survey/mask_expression.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

std::vector<std::int64_t> possible_ranks(const BuiltSite& built, const MethodFacts& facts) {
  for (const Operand* operand : {&built.query, &built.key, &built.value}) {
    if (!operand->order.empty()) return {static_cast<std::int64_t>(operand->order.size())};
    if (const auto rank = facts.rank(operand->root)) return {*rank};
  }
  return {4, 3, 5, 2};
}

// A bias of the product's layout where the operator works in one that splits the first of its dimensions. Beneath an
// `unsqueeze` of that dimension stands a bias of each head, or one for all.
ProbeInput in_product_layout(Value* tensor, ProbeInput::Use use, std::size_t leading, const MethodFacts& facts) {
  ProbeInput input{tensor, use, {}, false, {ProbeInput::kProduct, ProbeInput::kLength, ProbeInput::kKeys}};
  Node* node = tensor->node();
  if (node->kind() != aten::unsqueeze || facts.integer(node->input(1)) != 0) return input;
  input.value = node->input(0);
  input.sizes = {ProbeInput::kLength, ProbeInput::kKeys};
  if (leading > 2) input.sizes.insert(input.sizes.begin(), ProbeInput::kHeads);
  return input;
}

}  // namespace

std::optional<std::int64_t> operand_size(const Operand& operand, std::int64_t dim, const MethodFacts& facts) {
  if (!operand.order.empty()) {
    const auto rank = static_cast<std::int64_t>(operand.order.size());
    if (rank + dim < 0) return std::nullopt;
    return facts.size_from_end(operand.root, operand.order[rank + dim] - rank);
  }
  if (operand.swap_last && dim >= -2) dim = dim == -1 ? -2 : -1;
  return facts.size_from_end(operand.root, dim);
}

ProbeInput assumed_mask_input(Value* tensor, const AssumedMask& mask) {
  ProbeInput input{tensor, ProbeInput::Use::kAssumedMask};
  input.assumed = mask;
  return input;
}

ProbeSite describe_for_probe(const SiteWalk& walk, const BuiltSite& built, const MethodFacts& facts) {
  ProbeSite site;
  site.original = walk.output;
  site.replacement = built.replacement;
  const auto add_operand = [&](const Operand& operand, ProbeInput::Use use) {
    for (const ProbeInput& input : site.inputs) {
      if (input.value == operand.root) return;  // one tensor in two roles
    }
    site.inputs.push_back({operand.root, use, operand.order, operand.swap_last});
  };
  add_operand(built.query, ProbeInput::Use::kQuery);
  add_operand(built.key, ProbeInput::Use::kKey);
  add_operand(built.value, ProbeInput::Use::kValue);
  const Operand query = simplify_operand(walk.query, facts);
  const Operand key = simplify_operand(walk.key, facts);
  if (query.root != built.query.root) site.scaled.push_back({query.root, built.query.root, walk.query_scale});
  if (key.root != built.key.root && built.repeats == 1)
    site.scaled.push_back({key.root, built.key.root, walk.key_scale});

  site.key_length = operand_size(built.key, -2, facts);
  site.query_length = operand_size(built.query, -2, facts);
  site.head_dim = operand_size(built.query, -1, facts);
  site.value_dim = operand_size(built.value, -1, facts);
  site.heads = operand_size(built.query, -3, facts);
  if (!site.head_dim) site.head_dim = operand_size(built.key, -1, facts);
  if (!site.heads && built.repeats == 1) site.heads = operand_size(built.key, -3, facts);
  site.repeats = built.repeats;
  const ScoreLengths lengths{length_of(walk.query, facts), length_of(walk.key, facts)};
  if (walk.assumed_mask)
    site.inputs.push_back(assumed_mask_input(walk.assumed_mask, *facts.assumed_mask(walk.assumed_mask)));
  for (const ScoreTerm& term : walk.terms) {
    if (const auto assumed = facts.assumed_mask(term.tensor)) {
      site.inputs.push_back(assumed_mask_input(term.tensor, *assumed));
      continue;
    }
    if (const auto shape = facts.shape(term.tensor); shape && shape->size() >= 2) {
      if (shape->back() != 1) site.key_length = shape->back();
      if ((*shape)[shape->size() - 2] != 1) site.query_length = (*shape)[shape->size() - 2];
      if (shape->size() >= 3 && (*shape)[shape->size() - 3] != 1 && !site.heads)
        site.heads = (*shape)[shape->size() - 3];
      continue;
    }
    if (walk.band.limits() && MaskExpression(term.tensor, lengths, facts).is_readable())
      continue;  // computed, not drawn
    const bool of_product_layout = !built.leading_sizes.empty() && term.level == walk.levels.size();
    const auto use = term.kind == ScoreTerm::Kind::kAdditive ? ProbeInput::Use::kAdditive : ProbeInput::Use::kMask;
    if (of_product_layout) {
      site.inputs.push_back(in_product_layout(term.tensor, use, built.leading_sizes.size(), facts));
      continue;
    }
    site.inputs.push_back({term.tensor, use, {}, false});
    site.inputs.back().hides_keys = !hides_nothing(term, facts);
  }
  for (Value* size : built.leading_sizes) site.split_sizes.push_back(facts.integer(size));
  for (const auto* levels : {&walk.levels, &walk.output_levels}) {
    for (Node* level : *levels) site.sizes.push_back({level->input(1), true});
  }
  for (const Operand& operand : {key, simplify_operand(walk.value, facts)}) {
    Node* reshape = operand.root->node();
    if (built.repeats == 1 || reshape->kind() != aten::reshape) continue;
    site.sizes.push_back({reshape->input(1), false});
    site.sizes.push_back({reshape->input(0)->node()->input(1), false});
  }
  site.ranks = possible_ranks(built, facts);
  return site;
}

}  // namespace flashconvert::survey
