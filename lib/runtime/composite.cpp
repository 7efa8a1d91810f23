// See composite.h.
#include "composite.h"

#include <cmath>
#include <limits>

#include "kernel_record.h"

namespace flashconvert::runtime {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool is_power_of_two(double value) {
  int exponent = 0;
  return std::frexp(value, &exponent) == 0.5;
}

// The dtype of the scores, the bias and the softmax.
ScalarType score_dtype(ScalarType dtype) { return dtype == ScalarType::Double ? dtype : ScalarType::Float; }

// The dtype of the two products. float16 products overflow before the scale is applied, and their CPU kernels are no
// faster than float32's; bfloat16 has float32's range and fast kernels.
ScalarType product_dtype(ScalarType dtype) { return dtype == ScalarType::Half ? ScalarType::Float : dtype; }

// scale * query key^T in `score_dtype`, [batch, heads, query_length, key_length]. The queries of one group of heads are
// stacked, so that grouped keys are never repeated in memory.
Tensor scaled_scores(const Problem& problem) {
  const ScalarType product = product_dtype(problem.dtype);
  const bool scale_query = product != ScalarType::BFloat16 || is_power_of_two(problem.scale);
  Tensor query = aten::to(problem.query, product);
  if (scale_query) {
    query = aten::multiply(query, problem.scale);
  }
  if (problem.group() > 1) {
    query = aten::reshape(query,
                          {problem.batch, problem.key_heads, problem.group() * problem.query_length, problem.head_dim});
  }
  const Tensor key = aten::transpose(aten::to(problem.key, product), -2, -1);
  Tensor scores = aten::to(aten::matmul(query, key), score_dtype(problem.dtype));
  if (problem.group() > 1) {
    scores = aten::reshape(scores, {problem.batch, problem.heads, problem.query_length, problem.key_length});
  }
  return scale_query ? scores : aten::multiply(scores, problem.scale);
}

Tensor weighted_values(const Problem& problem, const Tensor& weights) {
  const ScalarType product = product_dtype(problem.dtype);
  Tensor stacked = aten::to(weights, product);
  if (problem.group() > 1) {
    stacked = aten::reshape(
        stacked, {problem.batch, problem.key_heads, problem.group() * problem.query_length, problem.key_length});
  }
  Tensor output = aten::to(aten::matmul(stacked, aten::to(problem.value, product)), problem.dtype);
  if (problem.group() > 1) {
    output = aten::reshape(output, {problem.batch, problem.heads, problem.query_length, problem.value_dim});
  }
  return output;
}

Tensor masked(const Tensor& scores, const Tensor& visible) {
  return aten::where(visible, scores, aten::scalar(-kInfinity, scores.scalar_type()));
}

Tensor biased(const Tensor& scores, const Tensor& bias) {
  return bias.scalar_type() == ScalarType::Bool ? masked(scores, bias) : aten::add(scores, bias);
}

// `weights` with zeros in each row for which every key is masked. `masked_rows` has a last dimension of 1.
Tensor zero_rows(const Tensor& weights, const Tensor& masked_rows) {
  return aten::where(masked_rows, aten::scalar(0., weights.scalar_type()), weights);
}

// `output` with NaN in such rows. A factor, and not the value: gradients that pass such a row are NaN as well, as those
// of a softmax are.
Tensor nan_rows(const Tensor& output, const Tensor& masked_rows) {
  const auto number = [&](double value) { return aten::scalar(value, output.scalar_type()); };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return aten::multiply(output, aten::where(masked_rows, number(nan), number(1.)));
}

Tensor minus_infinity_rows(const Tensor& scores) {
  return aten::equal(aten::max_last(scores), aten::scalar(-kInfinity, scores.scalar_type()));
}

bool torch_attention_takes(const Problem& problem) {
  if (problem.softcap > 0. || problem.key_length == 0 || problem.head_dim == 0 || problem.has_no_result()) {
    return false;
  }
  if (!problem.bias) {
    return !problem.band.limits() || problem.band.is_lower_triangle();
  }
  const ScalarType type = problem.bias->scalar_type();
  return !problem.band.limits() && (type == ScalarType::Bool || type == problem.dtype);
}

// torch gives zeros for rows in which every key is masked; a softmax gives NaN.
Tensor torch_attention(const Problem& problem) {
  const auto bias = bias_in_four_dimensions(problem);
  Tensor output = aten::scaled_dot_product_attention(problem.query, problem.key, problem.value, bias,
                                                     problem.band.limits(), problem.scale, problem.group() > 1);
  if (!bias || problem.zero_masked_rows) {
    return output;
  }
  const Tensor rows =
      bias->scalar_type() == ScalarType::Bool ? aten::logical_not(aten::any_last(*bias)) : minus_infinity_rows(*bias);
  return nan_rows(output, rows);
}

}  // namespace

Tensor visible_keys(const Tensor& like, const Band& band, std::int64_t query_length, std::int64_t key_length) {
  const Tensor all = aten::full(like, {query_length, key_length}, 1., ScalarType::Bool);
  const Tensor visible = band.right < 0 ? all : aten::lower_triangle(all, band.diagonal + band.right);
  return band.left < 0 ? visible : aten::upper_triangle(visible, band.diagonal - band.left);
}

Tensor composite_attention(const Problem& problem) {
  Tensor scores = scaled_scores(problem);
  if (problem.softcap > 0.) {
    scores = aten::multiply(aten::tanh(aten::multiply(scores, 1. / problem.softcap)), problem.softcap);
  }
  if (const auto bias = bias_in_four_dimensions(problem)) {
    scores = biased(scores, *bias);
  }
  if (problem.band.limits()) {
    scores = masked(scores, visible_keys(scores, problem.band, problem.query_length, problem.key_length));
  }
  const Tensor weights = aten::softmax(scores, -1, scores.scalar_type());
  const bool may_mask_rows = problem.bias || problem.band.limits();
  if (!problem.zero_masked_rows || !may_mask_rows || problem.key_length == 0) {
    return weighted_values(problem, weights);
  }
  return weighted_values(problem, zero_rows(weights, minus_infinity_rows(scores)));
}

Tensor differentiable_attention(const Problem& problem) {
  if (torch_attention_takes(problem)) {
    record_kernel("torch: scaled_dot_product_attention");
    return torch_attention(problem);
  }
  record_kernel("torch: matmul, softmax");
  return composite_attention(problem);
}

}  // namespace flashconvert::runtime
