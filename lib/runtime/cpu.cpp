// See cpu.h.
#include "cpu.h"

#include <algorithm>
#include <limits>

#include "composite.h"
#include "cpu_bfloat16.h"
#include "kernel_record.h"
#include "masked_rows.h"
#include "processor.h"

namespace flashconvert::runtime {
namespace {

// Scores of one piece of the composite: 4 MiB in float32, about a core's share of the last-level cache.
constexpr std::int64_t kScoresInCache = std::int64_t{1} << 20;

// A dimension that the caller expanded holds one value: read it once.
Tensor without_expanded_dimensions(Tensor tensor) {
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    if (tensor.size(dim) > 1 && tensor.stride(dim) == 0) {
      tensor = aten::narrow(tensor, dim, 0, 1);
    }
  }
  return tensor;
}

// What torch's flash attention cannot express as its own causal flag is written into an additive mask. Without one,
// nothing is made here: at a few tokens, every operator called shows.
std::optional<Tensor> additive_mask(const Problem& problem, const std::optional<Tensor>& bias) {
  const bool limited = problem.band.limits() && !problem.band.is_lower_triangle();
  if (!bias && !limited) {
    return std::nullopt;
  }
  std::optional<Tensor> mask;
  if (bias) {
    mask = without_expanded_dimensions(*bias);
  }
  const bool is_boolean = mask && mask->scalar_type() == ScalarType::Bool;
  if (is_boolean || limited) {
    const ScalarType dtype = problem.dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
    const Tensor nothing = aten::scalar(0., dtype);
    const Tensor hidden = aten::scalar(-std::numeric_limits<double>::infinity(), dtype);
    if (is_boolean) {
      mask = aten::where(*mask, nothing, hidden);
    }
    if (limited) {
      Tensor visible = visible_keys(problem.query, problem.band, problem.query_length, problem.key_length);
      visible = aten::reshape(visible, {1, 1, problem.query_length, problem.key_length});
      mask = aten::where(visible, mask ? aten::to(*mask, dtype) : nothing, hidden);
    }
  }
  return aten::with_unit_stride(*mask);
}

// Grouped heads in a form without groups. Where no key is hidden by the row's number or by the head's mask, the queries
// of a group are rows of one head; otherwise the keys are repeated.
void ungroup(const Problem& problem, FlashCall& call) {
  const std::int64_t group = problem.group();
  const bool rows_differ = call.causal || (call.mask && (call.mask->size(1) > 1 || call.mask->size(2) > 1));
  if (!rows_differ) {
    call.query =
        aten::reshape(call.query, {problem.batch, problem.key_heads, group * problem.query_length, problem.head_dim});
    return;
  }
  for (Tensor* operand : {&call.key, &call.value}) {
    const std::int64_t features = operand->size(3);
    const Tensor repeated = aten::expand(aten::unsqueeze(*operand, 2),
                                         {problem.batch, problem.key_heads, group, problem.key_length, features});
    *operand = aten::reshape(repeated, {problem.batch, problem.heads, problem.key_length, features});
  }
}

void to_float32(FlashCall& call) {
  for (Tensor* operand : {&call.query, &call.key, &call.value}) {
    *operand = aten::to(*operand, ScalarType::Float);
  }
  if (call.mask) {
    call.mask = aten::to(*call.mask, ScalarType::Float);
  }
}

bool flash_takes(const Problem& problem) { return problem.softcap == 0. && problem.head_dim == problem.value_dim; }

// Nothing where flash attention does not give what a softmax would.
std::optional<Tensor> flash_attention(const Problem& problem) {
  FlashCall call{problem.query, problem.key, problem.value, additive_mask(problem, bias_in_four_dimensions(problem)),
                 problem.band.is_lower_triangle()};
  if (problem.group() > 1) {
    ungroup(problem, call);
  }
  // Without instructions for float16, torch's kernel converts element by element, and takes two to four times as long
  // as in float32 (docs/operator.md).
  const bool widened = problem.dtype == ScalarType::Half && !computes_in_float16();
  if (widened) {
    to_float32(call);
  }
  for (Tensor* operand : {&call.query, &call.key, &call.value}) {
    *operand = aten::with_unit_stride(*operand);
  }
  auto [output, log_sums] =
      aten::flash_attention_for_cpu(call.query, call.key, call.value, call.causal, call.mask, problem.scale);
  const double fill = problem.zero_masked_rows ? 0. : std::numeric_limits<double>::quiet_NaN();
  if (!fill_masked_rows(call, output, log_sums, fill)) {
    return std::nullopt;
  }
  if (widened) {
    output = aten::to(output, problem.dtype);
  }
  record_kernel("torch: flash_attention_for_cpu");
  const bool was_folded = output.size(1) != problem.heads;
  return was_folded ? aten::reshape(output, {problem.batch, problem.heads, problem.query_length, problem.value_dim})
                    : output;
}

Tensor slice(const Tensor& tensor, std::int64_t dim, std::int64_t start, std::int64_t length) {
  return tensor.size(dim) == length ? tensor : aten::narrow(tensor, dim, start, length);
}

// The part of the problem with these batches, key heads (with all queries of their groups) and query rows.
struct Piece {
  std::int64_t batch, batches, key_head, key_heads, row, rows;
};

Problem part_of(const Problem& problem, const std::optional<Tensor>& bias, const Piece& piece) {
  const std::int64_t group = problem.group();
  Problem part = problem;
  part.batch = piece.batches;
  part.batch_sizes = {piece.batches};
  part.heads = piece.key_heads * group;
  part.key_heads = piece.key_heads;
  part.query_length = piece.rows;
  part.band.diagonal += piece.row;
  part.query = slice(problem.query, 0, piece.batch, piece.batches);
  part.query = slice(part.query, 1, piece.key_head * group, part.heads);
  part.query = slice(part.query, 2, piece.row, piece.rows);
  for (Tensor Problem::*operand : {&Problem::key, &Problem::value}) {
    part.*operand = slice(problem.*operand, 0, piece.batch, piece.batches);
    part.*operand = slice(part.*operand, 1, piece.key_head, piece.key_heads);
  }
  if (bias) {
    Tensor own = *bias;
    own = own.size(0) == 1 ? own : slice(own, 0, piece.batch, piece.batches);
    own = own.size(1) == 1 ? own : slice(own, 1, piece.key_head * group, part.heads);
    part.bias = own.size(2) == 1 ? own : slice(own, 2, piece.row, piece.rows);
  }
  return part;
}

// Calls `body` for each piece whose scores fit the cache: as many batches as do, or parts of one batch.
template <typename Body>
void for_each_piece(const Problem& problem, Body body) {
  const auto fitting = [](std::int64_t scores_of_one, std::int64_t count) {
    return std::clamp(kScoresInCache / std::max<std::int64_t>(scores_of_one, 1), std::int64_t{1}, count);
  };
  const std::int64_t row_scores = problem.group() * problem.key_length;
  const std::int64_t rows = fitting(row_scores, problem.query_length);
  const std::int64_t head_scores = row_scores * problem.query_length;
  const std::int64_t key_heads = fitting(head_scores, problem.key_heads);
  const std::int64_t batches = fitting(head_scores * problem.key_heads, problem.batch);
  for (std::int64_t batch = 0; batch < problem.batch; batch += batches) {
    for (std::int64_t head = 0; head < problem.key_heads; head += key_heads) {
      for (std::int64_t row = 0; row < problem.query_length; row += rows) {
        body(Piece{batch, std::min(batches, problem.batch - batch), head, std::min(key_heads, problem.key_heads - head),
                   row, std::min(rows, problem.query_length - row)});
      }
    }
  }
}

Tensor composite_in_pieces(const Problem& problem) {
  record_kernel("torch: matmul, softmax");
  if (problem.batch * problem.heads * problem.query_length * problem.key_length <= kScoresInCache) {
    return composite_attention(problem);
  }
  const auto bias = bias_in_four_dimensions(problem);
  Tensor output = empty_output(problem);
  for_each_piece(problem, [&](const Piece& piece) {
    const Problem part = part_of(problem, bias, piece);
    Tensor destination = slice(output, 0, piece.batch, piece.batches);
    destination = slice(destination, 1, piece.key_head * problem.group(), part.heads);
    destination = slice(destination, 2, piece.row, piece.rows);
    aten::copy_to(destination, composite_attention(part));
  });
  return output;
}

}  // namespace

Tensor attention_on_cpu(const Problem& problem) {
  if (problem.has_no_result()) {
    return empty_output(problem);
  }
  if (problem.key_length == 0) {
    return aten::full(problem.query, {problem.batch, problem.heads, problem.query_length, problem.value_dim}, 0.,
                      problem.dtype);
  }
  if (bfloat16_kernel_takes(problem)) {
    return attention_in_bfloat16(problem);
  }
  if (flash_takes(problem)) {
    if (const auto output = flash_attention(problem)) {
      return *output;
    }
  }
  return composite_in_pieces(problem);
}

}  // namespace flashconvert::runtime
