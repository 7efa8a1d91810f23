// See problem.h.
#include "problem.h"

#include <algorithm>

namespace flashconvert::runtime {
namespace {

// `tensor` as [batch, heads, length, features], `heads` its own number of heads or what its one head is expanded to.
Tensor in_four_dimensions(const Tensor& tensor, const Shape& shape, std::int64_t heads) {
  const Sizes& batch = shape.batch_sizes;
  if (tensor.dim() == 4 && batch.size() == 1 && tensor.size(0) == batch[0] && tensor.size(1) == heads) {
    return tensor;
  }
  const Tensor headed = shape.has_heads && tensor.dim() >= 3 ? tensor : aten::unsqueeze(tensor, -3);
  const std::int64_t length = tensor.size(tensor.dim() - 2);
  const std::int64_t features = tensor.size(tensor.dim() - 1);
  Sizes sizes = batch;
  sizes.insert(sizes.end(), {heads, length, features});
  const Tensor expanded = aten::expand(headed, sizes);
  return sizes.size() == 4 ? expanded : aten::reshape(expanded, {shape.batch, heads, length, features});
}

// No rounding beyond the one to the query's own dtype, and none at all for a float32 bias beside 16-bit operands:
// converters write finite masks as float32's lowest value, which no half holds.
Tensor with_supported_dtype(const Tensor& bias, ScalarType dtype) {
  const ScalarType given = bias.scalar_type();
  if (given == ScalarType::Bool || given == dtype || (given == ScalarType::Float && is_16_bit(dtype))) {
    return bias;
  }
  return aten::to(bias, is_16_bit(dtype) ? ScalarType::Float : dtype);
}

// [batch_sizes..., heads, query_length, key_length], each its own size or 1.
Tensor canonical_bias(const Tensor& given, const Tensor& query, const Shape& shape) {
  const bool is_elsewhere = given.is_cpu() && !query.is_cpu();  // a number: check_arguments lets nothing else pass
  Tensor bias = with_supported_dtype(is_elsewhere ? aten::to_device_of(given, query) : given, query.scalar_type());
  if (!shape.has_heads && bias.dim() == 3) {
    bias = aten::unsqueeze(bias, 1);
  }
  Sizes sizes(shape.batch_sizes.size() + 3, 1);
  const Sizes own = sizes_of(bias);
  std::copy(own.rbegin(), own.rend(), sizes.rbegin());
  return own.size() == sizes.size() ? bias : aten::expand(bias, sizes);
}

// Drops each limit that hides no key of this problem, so that a causal step of one query (decoding) needs no mask.
Band make_band(const Options& options, std::int64_t query_length, std::int64_t key_length) {
  Band band;
  band.left = options.window[0];
  band.right = options.causal ? 0 : options.window[1];
  band.diagonal = options.bottom_right ? key_length - query_length : 0;
  if (band.left >= 0 && query_length - 1 + band.diagonal - band.left <= 0) {
    band.left = -1;
  }
  if (band.right >= 0 && band.diagonal + band.right >= key_length - 1) {
    band.right = -1;
  }
  return band;
}

}  // namespace

Problem make_problem(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& bias,
                     const Options& options) {
  Problem problem{check_arguments(query, key, value, bias, options)};
  problem.query = in_four_dimensions(query, problem, problem.heads);
  problem.key = in_four_dimensions(key, problem, problem.key_heads);
  problem.value = in_four_dimensions(value, problem, problem.key_heads);
  if (bias) {
    problem.bias = canonical_bias(*bias, query, problem);
  }
  problem.dtype = query.scalar_type();
  problem.scale = options.scale;
  problem.softcap = options.softcap;
  problem.band = make_band(options, problem.query_length, problem.key_length);
  problem.zero_masked_rows = options.zero_masked_rows;
  return problem;
}

std::optional<Tensor> bias_in_four_dimensions(const Problem& problem) {
  if (!problem.bias || problem.batch_sizes.size() == 1) {
    return problem.bias;
  }
  Sizes sizes = sizes_of(*problem.bias);
  const auto inner = sizes.end() - 3;
  const Sizes inner_sizes(inner, sizes.end());
  if (std::all_of(sizes.begin(), inner, [](std::int64_t size) { return size == 1; })) {
    return aten::reshape(*problem.bias, {1, inner_sizes[0], inner_sizes[1], inner_sizes[2]});
  }
  std::copy(problem.batch_sizes.begin(), problem.batch_sizes.end(), sizes.begin());
  return aten::reshape(aten::expand(*problem.bias, sizes),
                       {problem.batch, inner_sizes[0], inner_sizes[1], inner_sizes[2]});
}

Tensor empty_output(const Problem& problem) {
  const Tensor memory = aten::empty(
      problem.query, {problem.batch, problem.query_length, problem.heads, problem.value_dim}, problem.dtype);
  return aten::transpose(memory, 1, 2);
}

Tensor as_result(const Problem& problem, const Tensor& output) {
  const auto step = [](std::int64_t size) { return std::max<std::int64_t>(size, 1); };  // as a contiguous tensor's
  const std::int64_t row = step(problem.heads) * step(problem.value_dim);
  const Sizes expected = {step(problem.query_length) * row, step(problem.value_dim), row, 1};
  const auto lies_as_expected = [&](const Tensor& tensor) {
    return std::equal(expected.begin(), expected.end(), tensor.strides().begin());
  };
  Tensor placed = output;
  if (!lies_as_expected(placed)) {
    placed = aten::transpose(aten::contiguous(aten::transpose(output, 1, 2)), 1, 2);
  }
  if (!lies_as_expected(placed)) {  // a dimension of size 1 may have any stride: give it the one that Meta promises
    placed = aten::as_strided(placed, sizes_of(placed), expected);
  }
  return problem.result_sizes.size() == 4 ? placed : aten::reshape(placed, problem.result_sizes);
}

}  // namespace flashconvert::runtime
