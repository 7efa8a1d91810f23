// See linear.h.
#include "linear.h"

#include <algorithm>
#include <array>

#include "arguments.h"
#include "kernel_record.h"
#include "messages.h"

namespace flashconvert::runtime {
namespace {

template <typename... Parts>
void check(bool condition, const Parts&... parts) {
  check_that(condition, "linear", parts...);
}

void check_like_input(const char* name, const Tensor& tensor, const Tensor& input) {
  check(tensor.scalar_type() == input.scalar_type(), name, " must have the dtype of input: expected ",
        name_of(input.scalar_type()), ", given ", name_of(tensor.scalar_type()));
  check(tensor.device() == input.device(), name, " must be on the device of input: expected ", DeviceOf{input},
        ", given ", DeviceOf{tensor});
}

bool is_activation(const std::string& name) {
  constexpr std::array<const char*, 5> kNames = {"none", "gelu", "gelu_tanh", "relu", "silu"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

Tensor activate(const Tensor& sums, const std::string& activation) {
  if (activation == "gelu") return aten::gelu(sums, "none");
  if (activation == "gelu_tanh") return aten::gelu(sums, "tanh");
  if (activation == "relu") return aten::relu(sums);
  if (activation == "silu") return aten::silu(sums);
  return sums;
}

}  // namespace

void check_linear_arguments(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                            const std::string& activation) {
  check(is_activation(activation), "activation must be none, gelu, gelu_tanh, relu or silu; given ", activation);
  check(is_floating(input.scalar_type()), "input must be float16, bfloat16, float32 or float64; given ",
        name_of(input.scalar_type()));
  check(input.dim() >= 1, "input must have at least 1 dimension, [..., features]; given ", ShapeOf{input});
  check(weight.dim() == 2, "weight must have 2 dimensions, [output features, input features]; given ", ShapeOf{weight});
  check_like_input("weight", weight, input);
  check(weight.size(1) == input.size(input.dim() - 1), "weight must have as many input features as input: expected ",
        input.size(input.dim() - 1), ", given ", weight.size(1), " (input ", ShapeOf{input}, ", weight ",
        ShapeOf{weight}, ")");
  if (bias) {
    check(bias->dim() == 1 && bias->size(0) == weight.size(0),
          "bias must have 1 dimension, [output features]: expected [", weight.size(0), "], given ", ShapeOf{*bias});
    check_like_input("bias", *bias, input);
  }
}

Tensor torch_linear(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                    const std::string& activation) {
  record_kernel("torch: linear");
  return activate(aten::linear(input, weight, bias), activation);
}

Tensor linear_on_meta(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& /*bias*/,
                      const std::string& /*activation*/) {
  Sizes sizes = sizes_of(input);
  sizes.back() = weight.size(0);
  return aten::empty(input, sizes, input.scalar_type());
}

}  // namespace flashconvert::runtime
