// The operator's arguments: what they must be, and the sizes that follow from them. All messages about bad arguments
// come from here. Looks at sizes, dtypes and devices, makes no tensor.
#pragma once

#include <cstdint>
#include <optional>

#include "aten.h"

namespace flashconvert::runtime {

// The operator's arguments after the tensors, as its schema has them.
struct Options {
  double scale = 1.;
  bool causal = false;
  Sizes window = {-1, -1};
  double softcap = 0.;
  bool zero_masked_rows = false;
  bool bottom_right = false;
};

struct Shape {
  // Operands of rank 4 and more are [batch..., heads, length, features], those of rank 2 and 3 have no dimension of
  // heads. An operand of lower rank than the largest is broadcast, as in a matrix product.
  bool has_heads = false;
  Sizes batch_sizes;   // broadcast over query, key and value; one dimension at least
  Sizes result_sizes;  // what the caller expects: the rank of the operands

  std::int64_t batch = 0;  // the product of batch_sizes
  std::int64_t heads = 0;
  std::int64_t key_heads = 0;  // divides heads
  std::int64_t query_length = 0;
  std::int64_t key_length = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;
};

// Throws std::runtime_error with a message that names the argument, what was expected and what was given.
Shape check_arguments(const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& bias,
                      const Options& options);

// Dimensions of a tensor, and their product.
Sizes sizes_of(const Tensor& tensor);
std::int64_t product(const Sizes& sizes);

// The stride of a dimension in a tensor that is to be broadcast: 0 where its size is 1.
std::int64_t broadcast_stride(const Tensor& tensor, std::int64_t dim);

bool is_16_bit(ScalarType type);
bool is_floating(ScalarType type);

}  // namespace flashconvert::runtime
