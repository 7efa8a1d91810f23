// Compares masks with bands along the diagonal (mask_pattern.h).
#include "survey/mask_pattern.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "survey/mask_numbers.h"

namespace flashconvert::survey {

namespace {

// Scores that reach a quarter of this have no digits after the point in single precision, so that no weight of theirs
// means anything; for all smaller ones, the exponent of a hidden score beside a visible one is zero.
constexpr double kHidesFully = -1e8;
// In half precision, scores that reach a quarter of its lowest number are 8 apart.
constexpr double kHidesFullyInHalf = kLowestHalf;

bool is_in_half_precision(const torch::jit::Module& module) {
  bool has_parameters = false;
  for (const at::Tensor& parameter : module.parameters()) {
    if (!parameter.is_floating_point()) continue;
    if (parameter.scalar_type() != at::kHalf) return false;
    has_parameters = true;
  }
  return has_parameters;
}

struct Lengths {
  std::int64_t queries = 0, keys = 0;
};

struct Observed {
  Lengths lengths;
  at::Tensor open;  // [queries, keys], true where the key is visible
};

// The mask expanded to [layers, queries, keys]; nothing where the scores do not take its shape.
std::optional<at::Tensor> over_scores(const at::Tensor& mask, Lengths lengths) {
  if (mask.dim() < 2) return std::nullopt;
  std::vector<std::int64_t> sizes = mask.sizes().vec();
  for (const auto& [dim, length] : {std::pair{sizes.size() - 2, lengths.queries}, {sizes.size() - 1, lengths.keys}}) {
    if (sizes[dim] != length && sizes[dim] != 1) return std::nullopt;
    sizes[dim] = length;
  }
  return mask.expand(sizes).reshape({-1, lengths.queries, lengths.keys});
}

// Which keys are visible, and what else the term does; nothing where it neither hides a score fully nor leaves it.
std::optional<at::Tensor> visible_keys(const ScoreTerm& term, const at::Tensor& mask, double hides,
                                       MaskPattern& pattern) {
  if (term.kind != ScoreTerm::Kind::kAdditive) {
    if (mask.scalar_type() != at::kBool || !(term.fill <= hides)) return std::nullopt;
    pattern.is_infinite = std::isinf(term.fill);
    return term.kind == ScoreTerm::Kind::kVisibleWhere ? mask : mask.logical_not();
  }
  if (!mask.is_floating_point()) return std::nullopt;
  const at::Tensor added = mask.to(at::kDouble) * term.factor;
  const at::Tensor hidden = added <= hides;
  const at::Tensor rest = added.masked_fill(hidden, 0);
  if (!(rest.abs() <= kLargestBias).all().item<bool>()) return std::nullopt;  // NaN is not either
  pattern.is_all = pattern.is_all && rest.eq(0).all().item<bool>();
  pattern.is_infinite =
      pattern.is_infinite && added.masked_fill(hidden.logical_not(), -INFINITY).isinf().all().item<bool>();
  return hidden.logical_not();
}

at::Tensor open_keys(const Band& band, Lengths lengths) {
  const std::int64_t diagonal = band.bottom_right ? lengths.keys - lengths.queries : 0;
  at::Tensor open = at::ones({lengths.queries, lengths.keys}, at::kBool);
  if (band.right >= 0) open = open.tril(diagonal + band.right);
  if (band.left >= 0) open = open.triu(diagonal - band.left);
  return open;
}

// The band that the mask shows at these lengths, if it is one.
std::optional<Band> band_of(const Observed& observed, bool bottom_right) {
  const auto [queries, keys] = observed.lengths;
  const at::Tensor places = observed.open.nonzero();
  if (places.size(0) == 0) return std::nullopt;
  const at::Tensor offsets = places.select(1, 1) - places.select(1, 0) - (bottom_right ? keys - queries : 0);
  Band band;
  band.bottom_right = bottom_right;
  if (!observed.open[0][keys - 1].item<bool>()) {
    band.right = offsets.max().item<std::int64_t>();
    if (band.right < 0) return std::nullopt;
  }
  if (!observed.open[queries - 1][0].item<bool>()) {
    band.left = -offsets.min().item<std::int64_t>();
    if (band.left < 0) return std::nullopt;
  }
  return band;
}

bool fits(const Band& band, const std::vector<Observed>& all) {
  return std::all_of(all.begin(), all.end(), [&](const Observed& observed) {
    return at::equal(open_keys(band, observed.lengths), observed.open);
  });
}

// Runs the mask and keeps what it shows.
class Observer {
public:
  Observer(const ScoreTerm& term, MaskExpression& expression, double hides)
      : term_(term), expression_(expression), hides_(hides) {}

  // False where the mask is none that a band could be.
  bool look_at(Lengths lengths) {
    for (const std::int64_t further : {2, 3, 7}) {
      if (further != 2 && !expression_.has_further_sizes()) break;
      const auto mask = expression_.run(lengths.queries, lengths.keys, further);
      const auto layers = mask ? over_scores(*mask, lengths) : std::nullopt;
      if (!layers) continue;  // lengths that the original rejects
      const auto open = visible_keys(term_, *layers, hides_, pattern);
      if (!open) return false;
      const at::Tensor first = open->select(0, 0);
      if (open->size(0) > 1 && !open->eq(first).all().item<bool>()) return false;  // heads or batch entries differ
      pattern.leaves_rows_open = pattern.leaves_rows_open && first.any(1).all().item<bool>();
      seen.push_back({lengths, first});
    }
    return true;
  }

  bool has_seen(std::int64_t length) const {
    return std::any_of(seen.begin(), seen.end(), [&](const Observed& one) {
      return one.lengths.queries == length && one.lengths.keys == length;
    });
  }

  std::vector<Observed> seen;
  MaskPattern pattern;

private:
  const ScoreTerm& term_;
  MaskExpression& expression_;
  double hides_;  // this number and lower ones
};

// Looks at all lengths that could make a difference; false where the mask is no band or they cannot all be tried.
bool look_at_all_lengths(Observer& observer, MaskExpression& expression, bool same) {
  if (!expression.depends_on_lengths()) {
    // A stored mask of one size; one of sizes that are not known to be the scores' may be of any lengths.
    if (expression.has_further_sizes()) return false;
    const auto mask = expression.run(1, 1, 2);
    return mask && mask->dim() >= 2 && observer.look_at({mask->size(-2), mask->size(-1)});
  }
  const std::int64_t buffer = expression.longest_buffer();
  const std::int64_t beyond_constants = expression.beyond_constants();
  if (std::max(buffer, beyond_constants) > MaskExpression::kLongest) return false;
  std::vector<Lengths> tries;
  for (const std::int64_t queries : {1, 2, 3, 4, 5, 8}) {
    for (const std::int64_t keys : {1, 2, 3, 4, 5, 8}) tries.push_back({queries, keys});
  }
  for (const std::int64_t length : {beyond_constants, buffer}) {
    if (length == 0) continue;
    tries.insert(tries.end(), {{length, length}, {1, length}, {length - 1, length}, {length, length - 1}});
  }
  for (const Lengths lengths : tries) {
    if (same && lengths.queries != lengths.keys) continue;
    if (!observer.look_at(lengths)) return false;
  }
  return observer.has_seen(buffer > 0 ? buffer : beyond_constants);
}

double highest_that_hides(const MethodFacts& facts) {
  return is_in_half_precision(facts.module()) ? kHidesFullyInHalf : kHidesFully;
}

}  // namespace

bool hides_fully(double number, const MethodFacts& facts) { return number <= highest_that_hides(facts); }

std::optional<MaskPattern> read_mask_pattern(const ScoreTerm& term, const ScoreLengths& lengths,
                                             const MethodFacts& facts) {
  MaskExpression expression(term.tensor, lengths, facts);
  if (!expression.is_readable()) return std::nullopt;
  Observer observer(term, expression, highest_that_hides(facts));
  if (!look_at_all_lengths(observer, expression, lengths.queries == lengths.keys)) return std::nullopt;
  const auto largest = std::max_element(observer.seen.begin(), observer.seen.end(),
                                        [](const auto& a, const auto& b) { return a.open.numel() < b.open.numel(); });
  if (largest == observer.seen.end() || std::min(largest->lengths.queries, largest->lengths.keys) < 2) {
    return std::nullopt;
  }
  MaskPattern pattern = observer.pattern;
  for (const bool bottom_right : {false, true}) {
    const auto band = band_of(*largest, bottom_right);
    if (!band || !band->limits() || !fits(*band, observer.seen)) continue;
    if (!pattern.band.limits() || (band->is_causal() && !pattern.band.is_causal())) pattern.band = *band;
  }
  return pattern.band.limits() ? std::optional(pattern) : std::nullopt;
}

}  // namespace flashconvert::survey
