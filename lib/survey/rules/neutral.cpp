// Steps that leave the softmax as it is: casts, copies, shifts by a row's maximum, clamps at the lowest number; and the
// reshapes that give the scores another layout.
#include <limits>

#include "survey/rules/rules.h"

namespace flashconvert::survey {

using torch::jit::Node;
using torch::jit::Value;
namespace aten = c10::aten;

bool step_cast_or_copy(ScoreStep step) {
  const std::string name = kind_name(step.scores->node());
  if (name != "aten::to" && name != "aten::float" && name != "aten::half" && name != "aten::type_as" &&
      name != "aten::contiguous" && name != "aten::clone" && name != "aten::detach" && name != "aten::alias") {
    return false;
  }
  step.scores = step.scores->node()->input(0);
  return true;
}

bool step_shift(ScoreStep step) {
  Node* node = step.scores->node();
  const std::string name = kind_name(node);
  if ((name == "aten::maximum" || name == "aten::max") && node->inputs().size() == 2) {
    const auto floor = step.facts.number(node->input(1));
    if (!floor || *floor > -65504.0) throw Declined("the scores are clamped from below");  // float16's lowest number
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
