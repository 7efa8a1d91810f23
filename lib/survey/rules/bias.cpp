// The bias and the masks: what is added to the scores, and what is written over them.
#include <cmath>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// Written over hidden scores, a value at or below this leaves their weights at exactly zero beside any visible key
// whose score lies above it by 104 (the exponent of float32's smallest number). -1e4 is the mildest that exports use.
constexpr double kMildestMask = -1e4;

void check_can_record(const ScoreStep& step) {
  if (step.inside_softcap) throw Declined("a bias inside a softcap");
  if (!step.site.factors.empty() || !step.site.scale_factors.empty())
    throw Declined("a tensor scales the sum of scores and bias");
}

void record_mask(const ScoreStep& step, ScoreTerm::Kind kind, Value* mask, double fill) {
  check_can_record(step);
  if (!(step.multiplier > 0)) throw Declined("masked scores are multiplied by a negative number");
  const double value = std::isinf(fill) ? fill : fill * step.multiplier;
  if (!(value <= kMildestMask))
    throw Declined("masked scores are set to " + std::to_string(fill) + ", which hides nothing");
  if (step.site.casts_scores_to_half && std::isfinite(value) && value < kLowestHalf)
    throw Declined("scores are cast to float16 after a mask that it cannot hold");  // minus infinity there
  step.site.terms.push_back({kind, mask, 1, value, step.site.levels.size()});
}

}  // namespace

bool step_bias(ScoreStep step) {
  Node* node = step.scores->node();
  const std::string name = kind_name(node);
  const bool adds = name == "aten::add" || name == "aten::add_";
  const bool subtracts = name == "aten::sub";
  if ((!adds && !subtracts) || node->inputs().size() != 3) return false;
  if (!is_tensor(node->input(1))) {  // a number added to every score changes no weight
    step.scores = node->input(0);
    return true;
  }
  if (subtracts && !leads_to_product(node->input(0), step.facts)) throw Declined("the scores are subtracted");
  const auto alpha = step.facts.number(node->input(2));
  if (!alpha) throw Declined("the bias has a factor that is not constant");
  const bool scores_first = subtracts || leads_to_product(node->input(0), step.facts);
  if (!scores_first && *alpha != 1) throw Declined("the scores have a factor in their sum with the bias");
  Value* bias = node->input(scores_first ? 1 : 0);
  check_can_record(step);
  step.site.terms.push_back(
      {ScoreTerm::Kind::kAdditive, bias, (subtracts ? -1 : 1) * *alpha * step.multiplier, 0, step.site.levels.size()});
  step.scores = node->input(scores_first ? 0 : 1);
  return true;
}

bool step_mask(ScoreStep step) {
  Node* node = step.scores->node();
  const std::string name = kind_name(node);
  if (name == "aten::masked_fill" || name == "aten::masked_fill_") {
    const auto fill = step.facts.number(node->input(2));
    if (!fill) throw Declined("masked scores are set to a value that is computed at run time");
    record_mask(step, ScoreTerm::Kind::kMaskedWhere, node->input(1), *fill);
    step.scores = node->input(0);
    return true;
  }
  if (name != "aten::where" || node->inputs().size() != 3) return false;
  const bool scores_when_true = is_tensor(node->input(1)) && leads_to_product(node->input(1), step.facts);
  const auto fill = step.facts.number(node->input(scores_when_true ? 2 : 1));
  if (!fill) throw Declined("hidden scores are replaced by a tensor");
  record_mask(step, scores_when_true ? ScoreTerm::Kind::kVisibleWhere : ScoreTerm::Kind::kMaskedWhere, node->input(0),
              *fill);
  step.scores = node->input(scores_when_true ? 1 : 2);
  return true;
}

}  // namespace flashconvert::survey
