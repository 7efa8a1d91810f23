// Checks a problem and turns it into kernel parameters: window bounds, alignment, and the order of the blocks.
#include "parameters.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace flashconvert::kernels {
namespace {

std::int64_t element_bytes(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

bool is_multiple(std::int64_t value, std::int64_t factor) { return value % factor == 0; }

// Whether every row of the operand starts at a multiple of 16 bytes. Strides of extents of 1 are never used.
bool rows_are_aligned(const void* data, std::int64_t batch, std::int64_t heads, std::int64_t length,
                      const std::int64_t (&strides)[3], DType dtype) {
  const std::int64_t vector = 16 / element_bytes(dtype);
  return is_multiple(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data)), 16) &&
         (batch == 1 || is_multiple(strides[0], vector)) && (heads == 1 || is_multiple(strides[1], vector)) &&
         (length <= 1 || is_multiple(strides[2], vector));
}

bool operands_are_aligned(const AttentionProblem& problem) {
  const auto aligned = [&](const TensorView& view, std::int64_t heads, std::int64_t length) {
    return rows_are_aligned(view.data, problem.batch, heads, length,
                            {view.batch_stride, view.head_stride, view.row_stride}, problem.dtype);
  };
  return aligned(problem.query, problem.heads, problem.query_length) &&
         aligned(problem.key, problem.key_heads, problem.key_length) &&
         aligned(problem.value, problem.key_heads, problem.key_length);
}

// Pairs (2c, 2c+1) of a row can be read as one word when they are neighbours and every row starts at an even element.
bool bias_has_pairs(const AttentionProblem& problem) {
  const BiasView& bias = problem.bias;
  if (bias.kind == BiasKind::kNone || bias.column_stride != 1) return false;
  const std::int64_t bytes = bias.kind == BiasKind::kBoolean                                       ? 1
                             : bias.kind == BiasKind::kFloat32 || problem.dtype == DType::kFloat32 ? 4
                                                                                                   : 2;
  return is_multiple(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(bias.data)), 2 * bytes) &&
         is_multiple(bias.row_stride, 2) && is_multiple(bias.head_stride, 2) &&
         is_multiple(bias.outer_batch_stride, 2) && is_multiple(bias.inner_batch_stride, 2);
}

// Heads whose keys and values together stay in the second-level cache while their query tiles run. With a causal
// window the tiles differ in length: those of a whole section run longest first, so that the last ones are short.
std::int64_t section_heads(const AttentionProblem& problem, std::int64_t total_heads) {
  if (!has_uneven_tiles(problem)) return 1;
  constexpr std::int64_t kCacheBytes = 16 << 20;
  const std::int64_t group = problem.heads / problem.key_heads;
  const std::int64_t head_bytes =
      problem.key_length * (problem.head_dim + problem.value_dim) * element_bytes(problem.dtype) / group;
  return std::clamp<std::int64_t>(kCacheBytes / std::max<std::int64_t>(head_bytes, 1), 1, total_heads);
}

}  // namespace

bool is_valid(const AttentionProblem& problem) {
  const auto dimension = [](std::int64_t size) { return size >= 1 && size <= 256; };
  const auto length = [](std::int64_t size) { return size >= 0 && size <= kLongestSequence; };
  if (!dimension(problem.head_dim) || !dimension(problem.value_dim)) return false;
  if (!length(problem.query_length) || !length(problem.key_length)) return false;
  if (problem.batch < 0 || problem.heads < 0) return false;
  if (problem.batch == 0 || problem.heads == 0 || problem.query_length == 0) return true;  // nothing to compute
  if (problem.key_heads < 1 || problem.heads % problem.key_heads != 0 || problem.bias.batch_inner < 1) return false;
  // One block a query tile of at least 64 rows, numbered by one 31-bit grid dimension.
  const std::int64_t tiles = (problem.query_length + 63) / 64;
  constexpr std::int64_t kMostBlocks = std::numeric_limits<std::int32_t>::max();
  return problem.batch <= kMostBlocks / problem.heads && problem.batch * problem.heads <= kMostBlocks / tiles;
}

AttentionProblem with_heads_in_memory(AttentionProblem problem) {
  const bool is_expanded = problem.key.head_stride == 0 && problem.value.head_stride == 0;
  if (is_expanded && problem.key_heads > 1 && problem.heads % problem.key_heads == 0) problem.key_heads = 1;
  return problem;
}

bool is_plain(const AttentionProblem& problem) {
  // The plain kernels take the maximum before the scale is applied, so it has to be positive.
  return problem.bias.kind == BiasKind::kNone && !(problem.softcap > 0.F) && problem.scale > 0.F &&
         std::isfinite(problem.scale) && operands_are_aligned(problem);
}

bool has_uneven_tiles(const AttentionProblem& problem) {
  return (problem.window_right >= 0) != (problem.window_left >= 0);
}

bool output_is_aligned(const AttentionProblem& problem) {
  return rows_are_aligned(problem.output, problem.batch, problem.heads, problem.query_length,
                          {problem.output_batch_stride, problem.output_head_stride, problem.output_row_stride},
                          problem.dtype);
}

KernelParameters make_parameters(const AttentionProblem& problem, int tile_rows) {
  KernelParameters parameters;
  parameters.query = problem.query;
  parameters.key = problem.key;
  parameters.value = problem.value;
  parameters.output = {problem.output, problem.output_batch_stride, problem.output_head_stride,
                       problem.output_row_stride};
  parameters.bias = problem.bias;
  parameters.bias.batch_inner = std::min(problem.bias.batch_inner, problem.batch);
  parameters.query_length = static_cast<int>(problem.query_length);
  parameters.key_length = static_cast<int>(problem.key_length);
  parameters.head_dim = static_cast<int>(problem.head_dim);
  parameters.value_dim = static_cast<int>(problem.value_dim);
  parameters.heads = static_cast<int>(problem.heads);
  parameters.heads_per_key_head = static_cast<int>(problem.heads / problem.key_heads);

  constexpr std::int64_t unlimited = 2 * kLongestSequence;
  const std::int64_t diagonal = std::clamp(problem.diagonal, -unlimited, unlimited);
  const auto clamped = [&](std::int64_t bound) { return static_cast<int>(std::clamp(bound, -unlimited, unlimited)); };
  parameters.first_visible =
      problem.window_left < 0 ? clamped(-unlimited) : clamped(diagonal - std::min(problem.window_left, 2 * unlimited));
  parameters.last_visible =
      problem.window_right < 0 ? clamped(unlimited) : clamped(diagonal + std::min(problem.window_right, 2 * unlimited));

  const bool capped = problem.softcap > 0.F;
  parameters.softcap = capped ? problem.softcap : 0.F;
  parameters.score_factor = capped ? problem.scale / problem.softcap : problem.scale;
  parameters.exponent_scale = (capped ? problem.softcap : problem.scale) * 1.4426950408889634F;
  const bool zero_empty_rows = problem.zero_masked_rows || problem.key_length == 0;
  parameters.empty_row = zero_empty_rows ? 0.F : std::numeric_limits<float>::quiet_NaN();

  const std::int64_t total_heads = problem.batch * problem.heads;
  parameters.query_tiles = static_cast<int>((problem.query_length + tile_rows - 1) / tile_rows);
  parameters.total_heads = static_cast<int>(total_heads);
  parameters.heads_per_section = static_cast<int>(section_heads(problem, total_heads));

  parameters.vector_loads = operands_are_aligned(problem);
  parameters.vector_stores = output_is_aligned(problem);
  parameters.bias_pairs = bias_has_pairs(problem);
  return parameters;
}

}  // namespace flashconvert::kernels
