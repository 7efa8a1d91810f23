// Which problems the kernels for halves take: see split_selection.h.
#include "split_selection.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../fp16x3/range_facts.h"

namespace flashconvert::kernels::sm90 {
namespace {

std::int64_t visible_keys_on_average(const AttentionProblem& problem) {
  const bool is_open_to_one_side = (problem.window_left >= 0) != (problem.window_right >= 0);
  if (is_open_to_one_side) return problem.key_length / 2;
  if (problem.window_left < 0) return problem.key_length;
  return std::min(problem.key_length, std::min(problem.window_left, problem.key_length) +
                                          std::min(problem.window_right, problem.key_length) + 1);
}

}  // namespace

bool takes_in_halves(const AttentionProblem& problem, ScoreMode mode) {
  constexpr std::int64_t kLeastTileKeys = 32;
  constexpr std::int64_t kMostBlocks = std::numeric_limits<std::int32_t>::max();
  // With a single key or a single feature plain float32 hardly rounds at all, and halves do.
  constexpr std::int64_t kLeastKeys = 16;
  constexpr std::int64_t kLeastDim = 8;
  if (problem.key_length < kLeastKeys || std::min(problem.head_dim, problem.value_dim) < kLeastDim) return false;
  if (!(std::fabs(problem.scale) <= kLargestScale)) return false;
  const std::int64_t tiles = (std::max(problem.query_length, problem.key_length) + kLeastTileKeys - 1) / kLeastTileKeys;
  if (problem.batch * problem.heads > kMostBlocks / (3 * tiles)) return false;
  const bool has_bias = problem.bias.kind != BiasKind::kNone;
  const bool is_capped = problem.softcap > 0.F;
  switch (mode) {
    case ScoreMode::kPlain:  // takes the maximum before the scale is applied
      return !has_bias && !is_capped && problem.scale > 0.F;
    case ScoreMode::kKeyBias:
      return has_bias && !is_capped && (problem.bias.row_stride == 0 || problem.query_length == 1);
    case ScoreMode::kGeneral:
      return true;
    default:
      return false;
  }
}

bool is_worth_halving(const AttentionProblem& problem, ScoreMode mode) {
  constexpr std::int64_t kMostFewQueries = 64;  // have tiles of their own
  constexpr std::int64_t kMostKeysOfRow = 16;   // keys and values to split for each row of queries
  const std::int64_t dim = std::max(problem.head_dim, problem.value_dim);
  const std::int64_t keys = visible_keys_on_average(problem);
  const bool is_general = mode == ScoreMode::kGeneral;
  if (is_general && dim <= 32) return false;  // its tile has 64 columns
  // Enough rows for the card: the kernels for TF32 have smaller tiles, and share the keys where there are few.
  const std::int64_t least_rows = dim <= 32 || is_general ? 16384 : dim > 96 ? 4096 : keys >= 512 ? 8192 : 10240;
  // Enough keys for each row to pay for its splitting.
  const std::int64_t least_keys = dim <= 32 || is_general ? 384 : 192;
  return problem.query_length > kMostFewQueries && keys >= least_keys &&
         problem.batch * problem.heads >= (least_rows + problem.query_length - 1) / problem.query_length &&
         problem.key_length / problem.query_length * problem.key_heads <= kMostKeysOfRow * problem.heads;
}

}  // namespace flashconvert::kernels::sm90
