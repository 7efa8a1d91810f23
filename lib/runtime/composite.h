// Attention out of aten operators alone: differentiable, on every device. The kernels' fallback and the training path.
#pragma once

#include "problem.h"

namespace flashconvert::runtime {

// [batch, heads, query_length, value_dim] in the query's dtype, by products and a softmax. 16-bit operands get float32
// scores and a float32 softmax.
Tensor composite_attention(const Problem& problem);

// The same through torch's scaled_dot_product_attention, which has fused kernels with gradients, where it computes the
// same function; the composite elsewhere.
Tensor differentiable_attention(const Problem& problem);

// [query_length, key_length], true where the band lets the query see the key, on the device of `like`.
Tensor visible_keys(const Tensor& like, const Band& band, std::int64_t query_length, std::int64_t key_length);

}  // namespace flashconvert::runtime
