// Steps that leave the softmax as it is: casts, copies, shifts by a row's maximum, clamps at the lowest number; and the
// reshapes that give the scores another layout.
#include <limits>

#include "graph/dtypes.h"
#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

namespace {

// The one dimension of a maximum that keeps it, with size 1; nothing for other operators.
std::optional<std::int64_t> dimension_of_maximum(const Node* node, const MethodFacts& facts) {
  const bool is_max = node->kind() == aten::max && node->inputs().size() == 3;
  if ((!is_max && node->kind() != aten::amax) || facts.boolean(node->input(2)) != true) return std::nullopt;
  if (is_max) return facts.integer(node->input(1));
  const auto dims = facts.int_list(node->input(1));
  return dims.size() == 1 ? dims[0] : std::nullopt;
}

// scores - the largest of each row: the softmax does not see what a row is shifted by.
bool step_row_maximum(ScoreStep step) {
  Node* node = step.scores->node();
  if (node->kind() != aten::sub || !is_tensor(node->input(1)) || step.facts.number(node->input(2)) != 1) return false;
  Value* scores = node->input(0);
  Value* shift = node->input(1);
  Node* detach = shift->node()->kind() == aten::detach ? shift->node() : nullptr;
  if (detach) shift = detach->input(0);
  Node* maximum = shift->node();
  const auto dim = dimension_of_maximum(maximum, step.facts);
  if (!dim || maximum->input(0) != scores || shift != maximum->output(0)) return false;
  if (dim_from_end(*dim, step.facts.rank(scores)) != -1) return false;
  if (step.inside_softcap) throw Declined("the scores are shifted inside a softcap");
  if (detach) step.site.path.push_back(detach);
  step.site.path.push_back(maximum);
  step.scores = scores;
  return true;
}

}  // namespace

bool step_cast_or_copy(ScoreStep step) {
  if (!has_trait(step.scores->node(), kCasts | kCopies | kDetaches)) return false;
  if (has_trait(step.scores->node(), kCasts) && named_dtype(step.scores->node()) == at::kHalf) {
    step.site.casts_scores_to_half = true;
  }
  step.scores = step.scores->node()->input(0);
  return true;
}

bool step_shift(ScoreStep step) {
  if (step_row_maximum(step)) return true;
  Node* node = step.scores->node();
  const std::string name = kind_name(node);
  if ((name == "aten::maximum" || name == "aten::max") && node->inputs().size() == 2) {
    const auto floor = step.facts.number(node->input(1));
    if (!floor || *floor > kLowestHalf) throw Declined("the scores are clamped from below");
    step.scores = node->input(0);
    return true;
  }
  return false;
}

bool step_layout(ScoreStep step) {
  Node* node = step.scores->node();
  if (node->kind() != aten::view && node->kind() != aten::reshape) return false;
  step.site.levels.push_back(node);
  step.scores = node->input(0);
  return true;
}

}  // namespace flashconvert::survey
