// Decides whether the Hopper kernels can read a problem's operands where they are.
#include "operands.h"

#include <cmath>

#include "../parameters.h"

namespace flashconvert::kernels::sm90 {

bool can_run(const AttentionProblem& problem) {
  return can_be_mapped(query_operand(problem)) && can_be_mapped(key_operand(problem)) &&
         can_be_mapped(value_operand(problem)) && problem.value_dim % 8 == 0 && output_is_aligned(problem);
}

bool takes_scores(const AttentionProblem& problem, ScoreMode mode) {
  const BiasView& bias = problem.bias;
  const bool has_bias = bias.kind != BiasKind::kNone;
  const bool is_capped = problem.softcap > 0.F;
  const bool has_finite_scale = std::isfinite(problem.scale);
  const bool queries_share_bias = bias.row_stride == 0 || problem.query_length == 1;
  switch (mode) {
    case ScoreMode::kPlain:
      return is_plain(problem);
    case ScoreMode::kCapped:
      return is_capped && !has_bias && has_finite_scale;
    case ScoreMode::kKeyBias:
      return has_bias && !is_capped && has_finite_scale && queries_share_bias;
    case ScoreMode::kBias:
      return has_bias && !is_capped && has_finite_scale && !queries_share_bias &&
             (bias.kind == BiasKind::kSameAsQuery || bias.kind == BiasKind::kBoolean) && bias.column_stride == 1 &&
             bias.batch_inner == 1 && can_be_mapped(bias_operand(problem));
    case ScoreMode::kGeneral:
      return true;
  }
  return false;
}

std::size_t workspace_bytes(const AttentionProblem& problem) { return has_uneven_tiles(problem) ? sizeof(int) : 0; }

}  // namespace flashconvert::kernels::sm90
