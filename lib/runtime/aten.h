// The aten operators that the library calls, as typed functions over torch's stable dispatcher. Nothing here knows
// about attention. Operators with a Scalar argument cannot be called through the stable dispatcher of torch 2.10, so
// scalars travel as 0-dimensional tensors, which follow the same type promotion.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace flashconvert::runtime {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Sizes = std::vector<std::int64_t>;

namespace aten {

// Views.
Tensor as_strided(const Tensor& self, const Sizes& size, const Sizes& stride);
Tensor expand(const Tensor& self, const Sizes& size);
Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length);
Tensor reshape(const Tensor& self, const Sizes& size);
Tensor transpose(const Tensor& self, std::int64_t first, std::int64_t second);
Tensor unsqueeze(const Tensor& self, std::int64_t dim);

// Creation. `full` makes a tensor on the device of `like`; `scalar` a 0-dimensional one on the CPU, which mixes with
// tensors of every device.
Tensor empty(const Tensor& like, const Sizes& size, ScalarType dtype);
Tensor full(const Tensor& like, const Sizes& size, double value, ScalarType dtype);
Tensor scalar(double value, ScalarType dtype);

Tensor contiguous(const Tensor& self);
Tensor with_unit_stride(const Tensor& self);  // of the last dimension; copies only where it has another
Tensor copy_to(Tensor destination, const Tensor& source);
Tensor to(const Tensor& self, ScalarType dtype);
Tensor to_device_of(const Tensor& self, const Tensor& other);

// Arithmetic.
Tensor add(const Tensor& first, const Tensor& second);
Tensor linear(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias);
Tensor matmul(const Tensor& first, const Tensor& second);
Tensor multiply(const Tensor& self, double factor);
Tensor multiply(const Tensor& first, const Tensor& second);
Tensor gelu(const Tensor& self, const std::string& approximate);  // "none" or "tanh"
Tensor relu(const Tensor& self);
Tensor silu(const Tensor& self);
Tensor tanh(const Tensor& self);
Tensor softmax(const Tensor& self, std::int64_t dim, ScalarType dtype);
Tensor where(const Tensor& condition, const Tensor& yes, const Tensor& no);

// Reductions and comparisons over the last dimension, kept with size 1.
Tensor any_last(const Tensor& self);
Tensor max_last(const Tensor& self);
Tensor equal(const Tensor& first, const Tensor& second);

// Booleans and triangles (see torch.tril, torch.triu).
Tensor logical_and(const Tensor& first, const Tensor& second);
Tensor logical_not(const Tensor& self);
Tensor lower_triangle(const Tensor& self, std::int64_t diagonal);
Tensor upper_triangle(const Tensor& self, std::int64_t diagonal);

// Attention of torch's own.
Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const std::optional<Tensor>& mask, bool is_causal, double scale, bool enable_gqa);
// Output [B, H, Lq, D] and the logarithm of each row's sum, [B, H, Lq].
std::pair<Tensor, Tensor> flash_attention_for_cpu(const Tensor& query, const Tensor& key, const Tensor& value,
                                                  bool is_causal, const std::optional<Tensor>& mask, double scale);

// flashconvert::_attention (registration.cpp), through the dispatcher, so that tracing modes and fake tensors see it.
Tensor attention_without_gradients(const Tensor& query, const Tensor& key, const Tensor& value,
                                   const std::optional<Tensor>& bias, double scale, bool causal, const Sizes& window,
                                   double softcap, bool zero_masked_rows, bool bottom_right);

// flashconvert::_linear, likewise.
Tensor linear_without_gradients(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                                const std::string& activation);

// True when autograd records what is done with `self`: only meaningful in grad mode. The stable interface has no
// question for it, but a view of a tensor that requires gradients has a history, and so is no leaf.
bool requires_grad(const Tensor& self);

// The dtype to which the autocast mode now in force takes operands like `self` in a matrix product.
ScalarType autocast_dtype(const Tensor& self);

}  // namespace aten
}  // namespace flashconvert::runtime
