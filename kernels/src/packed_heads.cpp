// Decides whether heads are packed, and writes the parameters of the packed problem: see packed_heads.h.
#include "packed_heads.h"

#include "tuning.h"

namespace flashconvert::kernels {
namespace {

// Rows are divided by the size of a group as row * (2^23 / group, rounded up) >> 23. With at most 64 queries the
// product stays below 2^31, and the rounding, less than row * group / 2^23, cannot reach the next query.
constexpr int kRowShift = 23;
constexpr std::int64_t kLargestGroup = 255;

bool bias_allows_packing(const AttentionProblem& problem) {
  const BiasView& bias = problem.bias;
  return problem.query_length == 1 || bias.kind == BiasKind::kNone || (bias.row_stride == 0 && bias.head_stride == 0);
}

bool packing_pays(const AttentionProblem& problem, int tile_rows) {
  const std::int64_t group = problem.heads / problem.key_heads;
  return group > 1 && tile_rows <= kMostPackedQueries && problem.query_length <= tile_rows &&
         (problem.query_length * group + tile_rows - 1) / tile_rows < group;
}

bool can_pack(const AttentionProblem& problem) {
  return bias_allows_packing(problem) && problem.heads / problem.key_heads <= kLargestGroup;
}

}  // namespace

KernelParameters make_packed_parameters(const AttentionProblem& problem, int tile_rows) {
  if (!packing_pays(problem, tile_rows) || !can_pack(problem)) return make_parameters(problem, tile_rows);
  const std::int64_t group = problem.heads / problem.key_heads;
  AttentionProblem packed = problem;
  packed.heads = problem.key_heads;
  packed.query_length = problem.query_length * group;
  packed.query.head_stride = problem.query.head_stride * group;
  packed.output_head_stride = problem.output_head_stride * group;
  if (problem.query_length == 1) {  // a row is a head
    packed.bias.row_stride = problem.bias.head_stride;
    packed.bias.head_stride = problem.bias.head_stride * group;
  }
  KernelParameters parameters = make_parameters(packed, tile_rows);
  parameters.packed_heads = static_cast<int>(group);
  parameters.row_multiplier = static_cast<int>(((std::int64_t{1} << kRowShift) + group - 1) / group);
  parameters.row_shift = kRowShift;
  parameters.packed_query_stride = problem.query.head_stride;
  parameters.packed_output_stride = problem.output_head_stride;
  // Rows do not lie in one stride: what holds for the heads' own rows holds for these.
  const KernelParameters unpacked = make_parameters(problem, tile_rows);
  parameters.vector_loads = unpacked.vector_loads;
  parameters.vector_stores = unpacked.vector_stores;
  return parameters;
}

}  // namespace flashconvert::kernels
