// See problem.h.
#include "problem.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>

namespace flashconvert::runtime {
namespace {

template <typename... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) {
    std::ostringstream message;
    message << "flashconvert::attention: ";
    (message << ... << parts);
    throw std::runtime_error(message.str());
  }
}

Sizes sizes_of(const Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

std::string text(const Sizes& sizes) {
  std::ostringstream out;
  out << '[';
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    out << (i == 0 ? "" : ", ") << sizes[i];
  }
  out << ']';
  return out.str();
}

std::string text(const Tensor& tensor) { return text(sizes_of(tensor)); }

std::int64_t product(const Sizes& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

bool is_floating(ScalarType type) {
  return type == ScalarType::Half || type == ScalarType::BFloat16 || type == ScalarType::Float ||
         type == ScalarType::Double;
}

bool is_16_bit(ScalarType type) { return type == ScalarType::Half || type == ScalarType::BFloat16; }

std::string device_text(const Tensor& tensor) {
  const auto device = tensor.device();
  const char* type = tensor.is_cpu() ? "cpu" : tensor.is_cuda() ? "cuda" : "device";
  return device.has_index() && !tensor.is_cpu() ? type + (':' + std::to_string(device.index())) : type;
}

void check_beside_query(const char* name, const Tensor& tensor, const Tensor& query) {
  check(tensor.dim() >= 2, name, " must have at least 2 dimensions, [..., length, features]; given ", text(tensor));
  check(tensor.scalar_type() == query.scalar_type(), name, " must have the dtype of query: expected ",
        torch::headeronly::toString(query.scalar_type()), ", given ",
        torch::headeronly::toString(tensor.scalar_type()));
  check(tensor.device() == query.device(), name, " must be on the device of query: expected ", device_text(query),
        ", given ", device_text(tensor));
}

void check_tensors(const Tensor& query, const Tensor& key, const Tensor& value) {
  check(is_floating(query.scalar_type()), "query must be float16, bfloat16, float32 or float64; given ",
        torch::headeronly::toString(query.scalar_type()));
  check_beside_query("query", query, query);
  check_beside_query("key", key, query);
  check_beside_query("value", value, query);
  check(key.size(key.dim() - 1) == query.size(query.dim() - 1), "key must have as many features as query: expected ",
        query.size(query.dim() - 1), ", given ", key.size(key.dim() - 1), " (query ", text(query), ", key ", text(key),
        ")");
  check(value.size(value.dim() - 2) == key.size(key.dim() - 2), "value must be as long as key: expected ",
        key.size(key.dim() - 2), ", given ", value.size(value.dim() - 2), " (key ", text(key), ", value ", text(value),
        ")");
}

void check_options(const Options& options) {
  check(options.window.size() == 2, "window must hold two values, left and right; given ", text(options.window));
  check(options.window[0] >= -1 && options.window[1] >= -1,
        "window must hold counts of keys, or -1 for no limit; given ", text(options.window));
  check(options.softcap >= 0., "softcap must not be negative (0: none); given ", options.softcap);
}

// The dimensions before heads, or before length where there is no dimension of heads (rank 2 and 3).
Sizes batch_sizes_of(const Tensor& tensor, bool has_heads) {
  Sizes sizes = sizes_of(tensor);
  const std::size_t inner = has_heads ? 3 : 2;
  sizes.resize(sizes.size() > inner ? sizes.size() - inner : 0);
  return sizes;
}

std::int64_t heads_of(const Tensor& tensor, bool has_heads) {
  return has_heads && tensor.dim() >= 3 ? tensor.size(tensor.dim() - 3) : 1;
}

// Extends `into` by broadcasting; false where the sizes do not fit.
bool broadcast(Sizes& into, const Sizes& sizes) {
  if (sizes.size() > into.size()) {
    into.insert(into.begin(), sizes.size() - into.size(), 1);
  }
  const std::size_t offset = into.size() - sizes.size();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::int64_t& size = into[offset + i];
    if (size == 1) {
      size = sizes[i];
    } else if (sizes[i] != 1 && sizes[i] != size) {
      return false;
    }
  }
  return true;
}

// `tensor` as [batch, heads, length, features], `heads` its own number of heads or what its one head is expanded to.
Tensor in_four_dimensions(const Tensor& tensor, const Sizes& batch_sizes, bool has_heads, std::int64_t heads) {
  if (tensor.dim() == 4 && batch_sizes.size() == 1 && tensor.size(0) == batch_sizes[0] && tensor.size(1) == heads) {
    return tensor;
  }
  const Tensor headed = has_heads && tensor.dim() >= 3 ? tensor : aten::unsqueeze(tensor, -3);
  const std::int64_t length = tensor.size(tensor.dim() - 2);
  const std::int64_t features = tensor.size(tensor.dim() - 1);
  Sizes sizes = batch_sizes;
  sizes.insert(sizes.end(), {heads, length, features});
  const Tensor expanded = aten::expand(headed, sizes);
  return sizes.size() == 4 ? expanded : aten::reshape(expanded, {product(batch_sizes), heads, length, features});
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

Tensor canonical_bias(const Tensor& given, const Tensor& query, const Problem& problem, bool has_heads) {
  const ScalarType type = given.scalar_type();
  check(type == ScalarType::Bool || is_floating(type),
        "bias must be boolean (false: masked) or floating (added to the scores); given ",
        torch::headeronly::toString(type));
  const bool is_number = given.dim() == 0 && given.is_cpu();
  check(is_number || given.device() == query.device(), "bias must be on the device of query: expected ",
        device_text(query), ", given ", device_text(given));
  const Tensor placed = is_number && !query.is_cpu() ? aten::to_device_of(given, query) : given;

  Sizes scores = problem.result_sizes;
  scores.back() = problem.key_length;
  Sizes broadcasted = scores;
  check(given.dim() <= static_cast<std::int64_t>(scores.size()) && broadcast(broadcasted, sizes_of(given)) &&
            broadcasted == scores,
        "bias must broadcast to the scores [..., query length, key length]: expected ", text(scores), ", given ",
        text(given));

  Sizes sizes(problem.batch_sizes.size() + 3, 1);
  Sizes own = sizes_of(placed);
  if (!has_heads && own.size() == 3) {
    own.insert(own.begin() + 1, 1);
  }
  std::copy(own.rbegin(), own.rend(), sizes.rbegin());
  Tensor bias = with_supported_dtype(placed, problem.dtype);
  if (static_cast<std::int64_t>(sizes.size()) == bias.dim()) {
    return bias;
  }
  if (!has_heads && bias.dim() == 3) {
    bias = aten::unsqueeze(bias, 1);
  }
  return aten::expand(bias, sizes);
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
  check_tensors(query, key, value);
  check_options(options);

  const std::int64_t rank = std::max({query.dim(), key.dim(), value.dim()});
  const bool has_heads = rank >= 4;
  Problem problem;
  problem.dtype = query.scalar_type();
  problem.batch_sizes = batch_sizes_of(query, has_heads);
  check(broadcast(problem.batch_sizes, batch_sizes_of(key, has_heads)), "key must have the batch of query: expected ",
        text(problem.batch_sizes), ", given ", text(batch_sizes_of(key, has_heads)), " (query ", text(query), ", key ",
        text(key), ")");
  check(broadcast(problem.batch_sizes, batch_sizes_of(value, has_heads)),
        "value must have the batch of query and key: expected ", text(problem.batch_sizes), ", given ",
        text(batch_sizes_of(value, has_heads)), " (query ", text(query), ", value ", text(value), ")");

  const std::int64_t query_heads = heads_of(query, has_heads);
  problem.key_heads = std::max(heads_of(key, has_heads), heads_of(value, has_heads));
  for (const Tensor* operand : {&key, &value}) {
    const std::int64_t given = heads_of(*operand, has_heads);
    check(given == problem.key_heads || given == 1, "key and value must have the same heads: key has ",
          heads_of(key, has_heads), ", value has ", heads_of(value, has_heads));
  }
  problem.heads = query_heads == 1 ? problem.key_heads : query_heads;
  check(problem.key_heads > 0 ? problem.heads % problem.key_heads == 0 : problem.heads == 0,
        "key must have a number of heads that divides the query's ", problem.heads, "; given ", problem.key_heads,
        " (query ", text(query), ", key ", text(key), ")");

  problem.query_length = query.size(query.dim() - 2);
  problem.key_length = key.size(key.dim() - 2);
  problem.head_dim = query.size(query.dim() - 1);
  problem.value_dim = value.size(value.dim() - 1);
  problem.result_sizes = problem.batch_sizes;
  if (has_heads) {
    problem.result_sizes.push_back(problem.heads);
  }
  problem.result_sizes.insert(problem.result_sizes.end(), {problem.query_length, problem.value_dim});
  if (problem.batch_sizes.empty()) {
    problem.batch_sizes.push_back(1);
  }
  problem.batch = product(problem.batch_sizes);

  problem.query = in_four_dimensions(query, problem.batch_sizes, has_heads, problem.heads);
  problem.key = in_four_dimensions(key, problem.batch_sizes, has_heads, problem.key_heads);
  problem.value = in_four_dimensions(value, problem.batch_sizes, has_heads, problem.key_heads);
  if (bias) {
    problem.bias = canonical_bias(*bias, query, problem, has_heads);
  }
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
  const std::int64_t row = problem.heads * problem.value_dim;
  const Sizes expected = {problem.query_length * row, problem.value_dim, row, 1};
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
