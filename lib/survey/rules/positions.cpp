// Causal masks and sliding windows: the terms that hide keys by their position leave the bias and become a band, which
// kernels skip as whole tiles and for which they read no mask.
#include <algorithm>
#include <cmath>

#include "survey/mask_pattern.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// A term, or a part of one that is a sum or a conjunction, and the band that it stands for.
struct Part {
  ScoreTerm term;
  std::optional<MaskPattern> pattern;
  std::optional<AssumedMask> assumed = {};
};

ScoreTerm with_tensor(ScoreTerm term, Value* tensor) {
  term.tensor = tensor;
  return term;
}

// What callers promise of the mask that the term adds, where that hides as well as minus infinity does.
std::optional<AssumedMask> assumed_mask_of(const ScoreTerm& term, const MethodFacts& facts) {
  if (term.kind != ScoreTerm::Kind::kAdditive || term.factor != 1) return std::nullopt;
  const auto assumed = facts.assumed_mask(term.tensor);
  return assumed && hides_fully(assumed->lowest, facts) ? assumed : std::nullopt;
}

// Both parts hide (or add) on their own what they do together; empty where the term is no such pair.
std::vector<ScoreTerm> halves(const ScoreTerm& term, const MethodFacts& facts) {
  const Node* node = term.tensor->node();
  if (node->inputs().size() < 2 || !is_tensor(node->input(0)) || !is_tensor(node->input(1))) return {};
  switch (term.kind) {
    case ScoreTerm::Kind::kAdditive:
      if (kind_name(node) != "aten::add" || facts.number(node->input(2)) != 1) return {};
      break;
    case ScoreTerm::Kind::kVisibleWhere:
      if (!is_any_of(node, {"aten::logical_and", "aten::bitwise_and", "aten::__and__"})) return {};
      break;
    case ScoreTerm::Kind::kMaskedWhere:
      if (!is_any_of(node, {"aten::logical_or", "aten::bitwise_or", "aten::__or__"})) return {};
      break;
  }
  return {with_tensor(term, node->input(0)), with_tensor(term, node->input(1))};
}

// A mask and its negation: the other kind of term over the other tensor.
ScoreTerm without_negation(ScoreTerm term) {
  if (term.kind == ScoreTerm::Kind::kAdditive) return term;
  while (is_any_of(term.tensor->node(), {"aten::logical_not", "aten::bitwise_not"})) {
    term.tensor = term.tensor->node()->input(0);
    term.kind =
        term.kind == ScoreTerm::Kind::kMaskedWhere ? ScoreTerm::Kind::kVisibleWhere : ScoreTerm::Kind::kMaskedWhere;
  }
  return term;
}

// The term as it is, or in parts where one of them is a band.
std::vector<Part> parts_of(const ScoreTerm& term, const ScoreLengths& lengths, const MethodFacts& facts, int depth) {
  if (const auto assumed = assumed_mask_of(term, facts)) return {{term, std::nullopt, assumed}};
  if (auto pattern = read_mask_pattern(term, lengths, facts)) return {{term, pattern}};
  const ScoreTerm plain = without_negation(term);
  std::vector<Part> parts;
  if (depth > 0) {
    for (const ScoreTerm& half : halves(plain, facts)) {
      for (const Part& part : parts_of(half, lengths, facts, depth - 1)) parts.push_back(part);
    }
  }
  const bool found = std::any_of(parts.begin(), parts.end(), [](const Part& part) { return part.pattern.has_value(); });
  return found ? parts : std::vector<Part>{{term, std::nullopt}};
}

// The tensor of which all elements of the value are; the value itself where it is computed.
Value* table_of(Value* value) {
  while (has_trait(value->node(), kKeepsValues)) value = value->node()->input(0);
  return value;
}

// Whether the keys that the pattern hides stay hidden beside the other part in rows in which that hides all the others.
bool is_open_beside(const Part& part, const Part& other, bool applied_later, bool same_lengths,
                    const MethodFacts& facts) {
  const Band& band = part.pattern->band;
  if (other.assumed) {  // adds its lowest number to the keys that the pattern hides, and no lower one to the others
    const bool is_added = applied_later || part.term.kind == ScoreTerm::Kind::kAdditive;
    return is_added && band.left < 0 && (same_lengths || !band.bottom_right);
  }
  if (!other.pattern) return hides_nothing(other.term, facts);
  return other.pattern->leaves_rows_open && other.pattern->band.bottom_right == band.bottom_right;
}

// Whether the keys that the pattern hides can be hidden by minus infinity, after all other terms. The parts stand from
// the softmax inwards.
bool may_become_band(const Part& part, const std::vector<Part>& parts, bool same_lengths, const MethodFacts& facts) {
  bool applied_later = true;
  for (const Part& other : parts) {
    if (&other == &part) {
      applied_later = false;
      continue;
    }
    if (part.pattern->is_infinite) {
      // A finite number written over hidden scores makes them equal to others again where a whole row is hidden.
      const bool overwrites = other.term.kind != ScoreTerm::Kind::kAdditive && std::isfinite(other.term.fill);
      if (applied_later && overwrites) return false;
      continue;
    }
    // A finite number hides a key only beside a visible one: nothing else may hide those.
    if (!is_open_beside(part, other, applied_later, same_lengths, facts)) return false;
  }
  return part.pattern->is_infinite || part.pattern->leaves_rows_open;
}

bool can_join(const Band& joined, const Band& band, bool same_lengths) {
  return !joined.limits() || same_lengths || joined.bottom_right == band.bottom_right;
}

void join(Band& joined, const Band& band) {
  const auto tighter = [](std::int64_t a, std::int64_t b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); };
  joined = {tighter(joined.left, band.left), tighter(joined.right, band.right), band.bottom_right};
}

// Whether a causal mask of the caller's is all that is left beside a band that is none, or causal too.
bool leaves_causal_mask(const Positions& positions, bool same_lengths, const MethodFacts& facts) {
  const Band& band = positions.band;
  const bool is_part_of_mask = band.left < 0 && band.right <= 0 && (same_lengths || !band.bottom_right);
  if (positions.rest.size() != 1 || !is_part_of_mask) return false;
  const auto assumed = assumed_mask_of(positions.rest.front(), facts);
  return assumed && assumed->is_causal;
}

}  // namespace

bool hides_nothing(const ScoreTerm& term, const MethodFacts& facts, double largest) {
  if (term.kind != ScoreTerm::Kind::kAdditive) return false;
  const auto values = facts.run(table_of(term.tensor));
  return values && values->is_floating_point() &&
         ((values->to(at::kDouble) * term.factor).abs() <= largest).all().item<bool>();
}

Positions separate_positions(const std::vector<ScoreTerm>& terms, const Operand& query, const Operand& key,
                             const MethodFacts& facts) {
  const ScoreLengths lengths{length_of(query, facts), length_of(key, facts)};
  constexpr int kNestedPairs = 4;
  std::vector<Part> parts;
  for (const ScoreTerm& term : terms) {
    for (const Part& part : parts_of(term, lengths, facts, kNestedPairs)) parts.push_back(part);
  }
  const bool same_lengths = lengths.queries == lengths.keys;
  Positions positions;
  for (const Part& part : parts) {
    const bool moves = part.pattern && may_become_band(part, parts, same_lengths, facts) &&
                       can_join(positions.band, part.pattern->band, same_lengths);
    if (moves) join(positions.band, part.pattern->band);
    if (!moves || !part.pattern->is_all) positions.rest.push_back(part.term);
  }
  if (leaves_causal_mask(positions, same_lengths, facts)) {
    positions.assumed_mask = positions.rest.front().tensor;
    positions.rest.clear();
  }
  if (!positions.say_something()) positions.rest = terms;
  return positions;
}

}  // namespace flashconvert::survey
