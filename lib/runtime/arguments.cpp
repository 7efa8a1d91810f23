// See arguments.h.
#include "arguments.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "messages.h"

namespace flashconvert::runtime {
namespace {

template <typename... Parts>
void check(bool condition, const Parts&... parts) {
  check_that(condition, "attention", parts...);
}

void check_operand(const char* name, const Tensor& tensor, const Tensor& query) {
  check(tensor.dim() >= 2, name, " must have at least 2 dimensions, [..., length, features]; given ", ShapeOf{tensor});
  check(tensor.scalar_type() == query.scalar_type(), name, " must have the dtype of query: expected ",
        name_of(query.scalar_type()), ", given ", name_of(tensor.scalar_type()));
  check(tensor.device() == query.device(), name, " must be on the device of query: expected ", DeviceOf{query},
        ", given ", DeviceOf{tensor});
}

void check_operands(const Tensor& query, const Tensor& key, const Tensor& value) {
  check(is_floating(query.scalar_type()), "query must be float16, bfloat16, float32 or float64; given ",
        name_of(query.scalar_type()));
  check_operand("query", query, query);
  check_operand("key", key, query);
  check_operand("value", value, query);
  check(key.size(key.dim() - 1) == query.size(query.dim() - 1), "key must have as many features as query: expected ",
        query.size(query.dim() - 1), ", given ", key.size(key.dim() - 1), " (query ", ShapeOf{query}, ", key ",
        ShapeOf{key}, ")");
  check(value.size(value.dim() - 2) == key.size(key.dim() - 2), "value must be as long as key: expected ",
        key.size(key.dim() - 2), ", given ", value.size(value.dim() - 2), " (key ", ShapeOf{key}, ", value ",
        ShapeOf{value}, ")");
}

void check_options(const Options& options) {
  check(options.window.size() == 2 && options.window[0] >= -1 && options.window[1] >= -1,
        "window must hold two counts of keys, left and right, or -1 for no limit; given ", Values{options.window});
  check(options.softcap >= 0., "softcap must not be negative (0: none); given ", options.softcap);
}

Sizes batch_sizes_of(const Tensor& tensor, bool has_heads) {
  Sizes sizes = sizes_of(tensor);
  const std::size_t inner = has_heads ? 3 : 2;
  sizes.resize(sizes.size() > inner ? sizes.size() - inner : 0);
  return sizes;
}

std::int64_t heads_of(const Tensor& tensor, bool has_heads) {
  return has_heads && tensor.dim() >= 3 ? tensor.size(tensor.dim() - 3) : 1;
}

// The common size of two tensors under broadcasting, or nothing.
std::optional<Sizes> broadcast(Sizes into, const Sizes& sizes) {
  if (sizes.size() > into.size()) {
    into.insert(into.begin(), sizes.size() - into.size(), 1);
  }
  const std::size_t offset = into.size() - sizes.size();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::int64_t& size = into[offset + i];
    if (size == 1) {
      size = sizes[i];
    } else if (sizes[i] != 1 && sizes[i] != size) {
      return std::nullopt;
    }
  }
  return into;
}

Sizes common_batch(const Tensor& query, const Tensor& key, const Tensor& value, bool has_heads) {
  Sizes batch = batch_sizes_of(query, has_heads);
  for (const auto& [name, operand] : {std::pair("key", &key), std::pair("value", &value)}) {
    const Sizes own = batch_sizes_of(*operand, has_heads);
    const auto common = broadcast(batch, own);
    check(common.has_value(), name, " must have the batch of query, or broadcast to it: expected ", Values{batch},
          ", given ", Values{own}, " (query ", ShapeOf{query}, ", ", name, " ", ShapeOf{*operand}, ")");
    batch = *common;
  }
  return batch;
}

void check_bias(const Tensor& bias, const Tensor& query, const Shape& shape) {
  const ScalarType type = bias.scalar_type();
  check(type == ScalarType::Bool || is_floating(type),
        "bias must be boolean (false: masked) or floating (added to the scores); given ", name_of(type));
  const bool is_number = bias.dim() == 0 && bias.is_cpu();
  check(is_number || bias.device() == query.device(), "bias must be on the device of query: expected ", DeviceOf{query},
        ", given ", DeviceOf{bias});
  Sizes scores = shape.result_sizes;
  scores.back() = shape.key_length;
  const Sizes own = sizes_of(bias);
  check(own.size() <= scores.size() && broadcast(scores, own) == scores,
        "bias must broadcast to the scores, [..., query length, key length]: expected ", Values{scores}, ", given ",
        Values{own});
}

}  // namespace

Sizes sizes_of(const Tensor& tensor) { return {tensor.sizes().begin(), tensor.sizes().end()}; }

std::int64_t product(const Sizes& sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t broadcast_stride(const Tensor& tensor, std::int64_t dim) {
  return tensor.size(dim) == 1 ? 0 : tensor.stride(dim);
}

bool is_floating(ScalarType type) { return is_16_bit(type) || type == ScalarType::Float || type == ScalarType::Double; }

bool is_16_bit(ScalarType type) { return type == ScalarType::Half || type == ScalarType::BFloat16; }

Shape check_arguments(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& bias,
                      const Options& options) {
  check_operands(query, key, value);
  check_options(options);

  Shape shape;
  shape.has_heads = std::max({query.dim(), key.dim(), value.dim()}) >= 4;
  shape.batch_sizes = common_batch(query, key, value, shape.has_heads);

  const std::int64_t query_heads = heads_of(query, shape.has_heads);
  const std::int64_t own_key_heads = heads_of(key, shape.has_heads);
  const std::int64_t value_heads = heads_of(value, shape.has_heads);
  check(own_key_heads == value_heads || own_key_heads == 1 || value_heads == 1,
        "value must have the heads of key: expected ", own_key_heads, ", given ", value_heads, " (key ", ShapeOf{key},
        ", value ", ShapeOf{value}, ")");
  shape.key_heads = own_key_heads == 1 ? value_heads : own_key_heads;
  shape.heads = query_heads == 1 ? shape.key_heads : query_heads;
  check(shape.key_heads > 0 ? shape.heads % shape.key_heads == 0 : shape.heads == 0,
        "key must have a number of heads that divides the query's ", query_heads, "; given ", shape.key_heads,
        " (query ", ShapeOf{query}, ", key ", ShapeOf{key}, ")");

  shape.query_length = query.size(query.dim() - 2);
  shape.key_length = key.size(key.dim() - 2);
  shape.head_dim = query.size(query.dim() - 1);
  shape.value_dim = value.size(value.dim() - 1);
  shape.result_sizes = shape.batch_sizes;
  if (shape.has_heads) {
    shape.result_sizes.push_back(shape.heads);
  }
  shape.result_sizes.insert(shape.result_sizes.end(), {shape.query_length, shape.value_dim});
  if (shape.batch_sizes.empty()) {
    shape.batch_sizes.push_back(1);
  }
  shape.batch = product(shape.batch_sizes);
  if (bias) {
    check_bias(*bias, query, shape);
  }
  return shape;
}

}  // namespace flashconvert::runtime
