// See aten.h.
#include "aten.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

namespace flashconvert::runtime::aten {
namespace {

using torch::stable::detail::from;

// Calls an operator with all of its arguments, defaults included, and returns the stack with its results. Arguments
// have the exact types of the schema: std::int64_t, double, bool, ScalarType, std::string, Tensor, Sizes, or
// std::optional of them.
template <typename... Arguments>
auto dispatch(const char* name, const char* overload, const Arguments&... arguments) {
  constexpr std::size_t largest_result = 2;
  std::array<StableIValue, std::max(sizeof...(Arguments), largest_result)> stack{from(arguments)...};
  if (torch_call_dispatcher(name, overload, stack.data(), TORCH_ABI_VERSION) != AOTI_TORCH_SUCCESS) {
    throw std::runtime_error(std::string("flashconvert: ") + name + " failed");
  }
  return stack;
}

Tensor tensor(StableIValue value) { return torch::stable::detail::to<Tensor>(value); }

template <typename... Arguments>
Tensor call(const char* name, const char* overload, const Arguments&... arguments) {
  return tensor(dispatch(name, overload, arguments...)[0]);
}

}  // namespace

Tensor as_strided(const Tensor& self, const Sizes& size, const Sizes& stride) {
  return call("aten::as_strided", "", self, size, stride, std::nullopt);
}

Tensor expand(const Tensor& self, const Sizes& size) { return call("aten::expand", "", self, size, false); }

Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length) {
  return call("aten::narrow", "", self, dim, start, length);
}

Tensor reshape(const Tensor& self, const Sizes& size) { return call("aten::reshape", "", self, size); }

Tensor transpose(const Tensor& self, std::int64_t first, std::int64_t second) {
  return call("aten::transpose", "int", self, first, second);
}

Tensor unsqueeze(const Tensor& self, std::int64_t dim) { return call("aten::unsqueeze", "", self, dim); }

Tensor empty(const Tensor& like, const Sizes& size, ScalarType dtype) {
  return torch::stable::new_empty(like, size, dtype);
}

Tensor full(const Tensor& like, const Sizes& size, double value, ScalarType dtype) {
  return torch::stable::full(size, value, dtype, std::nullopt, like.device());
}

Tensor scalar(double value, ScalarType dtype) { return torch::stable::full(Sizes{}, value, dtype); }

Tensor contiguous(const Tensor& self) { return torch::stable::contiguous(self); }

Tensor with_unit_stride(const Tensor& self) {
  const std::int64_t last = self.dim() - 1;
  return self.size(last) == 1 || self.stride(last) == 1 ? self : aten::contiguous(self);
}

Tensor copy_to(Tensor destination, const Tensor& source) {
  return torch::stable::copy_(destination, source, /*non_blocking=*/false);
}

Tensor to(const Tensor& self, ScalarType dtype) {
  return call("aten::to", "dtype", self, dtype, false, false, std::nullopt);
}

Tensor to_device_of(const Tensor& self, const Tensor& other) {
  return call("aten::to", "other", self, empty(other, {0}, self.scalar_type()), false, false, std::nullopt);
}

// aten::add takes a Scalar; the C shim's subtraction takes its factor as a double.
Tensor add(const Tensor& first, const Tensor& second) { return torch::stable::subtract(first, second, -1.); }

Tensor linear(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias) {
  return call("aten::linear", "", input, weight, bias);
}

Tensor matmul(const Tensor& first, const Tensor& second) { return call("aten::matmul", "", first, second); }

Tensor multiply(const Tensor& self, double factor) {
  if (factor == 1.) {
    return self;
  }
  return call("aten::mul", "Tensor", self, scalar(factor, ScalarType::Double));
}

Tensor multiply(const Tensor& first, const Tensor& second) { return call("aten::mul", "Tensor", first, second); }

Tensor gelu(const Tensor& self, const std::string& approximate) { return call("aten::gelu", "", self, approximate); }
Tensor relu(const Tensor& self) { return call("aten::relu", "", self); }
Tensor silu(const Tensor& self) { return call("aten::silu", "", self); }

Tensor tanh(const Tensor& self) { return call("aten::tanh", "", self); }

Tensor softmax(const Tensor& self, std::int64_t dim, ScalarType dtype) {
  return call("aten::softmax", "int", self, dim, std::optional<ScalarType>(dtype));
}

Tensor where(const Tensor& condition, const Tensor& yes, const Tensor& no) {
  return call("aten::where", "self", condition, yes, no);
}

Tensor any_last(const Tensor& self) { return call("aten::any", "dim", self, std::int64_t{-1}, true); }

Tensor max_last(const Tensor& self) { return call("aten::amax", "", self, Sizes{-1}, true); }

Tensor equal(const Tensor& first, const Tensor& second) { return call("aten::eq", "Tensor", first, second); }

Tensor logical_and(const Tensor& first, const Tensor& second) { return call("aten::logical_and", "", first, second); }

Tensor logical_not(const Tensor& self) { return call("aten::logical_not", "", self); }

Tensor lower_triangle(const Tensor& self, std::int64_t diagonal) { return call("aten::tril", "", self, diagonal); }

Tensor upper_triangle(const Tensor& self, std::int64_t diagonal) { return call("aten::triu", "", self, diagonal); }

Tensor scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                    const std::optional<Tensor>& mask, bool is_causal, double scale, bool enable_gqa) {
  return call("aten::scaled_dot_product_attention", "", query, key, value, mask, /*dropout_p=*/0., is_causal,
              std::optional<double>(scale), enable_gqa);
}

std::pair<Tensor, Tensor> flash_attention_for_cpu(const Tensor& query, const Tensor& key, const Tensor& value,
                                                  bool is_causal, const std::optional<Tensor>& mask, double scale) {
  const auto results = dispatch("aten::_scaled_dot_product_flash_attention_for_cpu", "", query, key, value,
                                /*dropout_p=*/0., is_causal, mask, std::optional<double>(scale));
  return {tensor(results[0]), tensor(results[1])};
}

Tensor attention_without_gradients(const Tensor& query, const Tensor& key, const Tensor& value,
                                   const std::optional<Tensor>& bias, double scale, bool causal, const Sizes& window,
                                   double softcap, bool zero_masked_rows, bool bottom_right) {
  return call("flashconvert::_attention", "", query, key, value, bias, scale, causal, window, softcap, zero_masked_rows,
              bottom_right);
}

Tensor linear_without_gradients(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                                const std::string& activation) {
  return call("flashconvert::_linear", "", input, weight, bias, activation);
}

bool requires_grad(const Tensor& self) {
  const Tensor view = call("aten::alias", "", self);
  return !torch::stable::detail::to<bool>(dispatch("aten::is_leaf", "", view)[0]);
}

ScalarType autocast_dtype(const Tensor& self) {
  const Tensor nothing = empty(self, {0, 0}, self.scalar_type());
  return call("aten::mm", "", nothing, nothing).scalar_type();
}

}  // namespace flashconvert::runtime::aten
