// Replaces flashconvert::attention on the CPU by one that is wrong for float32 heads of four features and right for
// everything else, and flashconvert::linear by one that is wrong for 96 features in float32. A conversion that loads it
// fuses sites which pass the probe (in float64) and fail --verify.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <optional>
#include <string>

namespace {

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                     const std::optional<at::Tensor>& bias, double scale, bool causal, at::IntArrayRef /*window*/,
                     double /*softcap*/, bool /*zero_masked_rows*/, bool /*bottom_right*/) {
  const at::Tensor result = at::scaled_dot_product_attention(query, key, value, bias, /*dropout_p=*/0, causal, scale);
  const bool sabotaged = query.scalar_type() == at::kFloat && query.size(-1) == 4;
  return sabotaged ? result * 1.5 : result;
}

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                  const std::string& /*activation*/) {
  const at::Tensor result = at::linear(input, weight, bias);
  const bool sabotaged = input.scalar_type() == at::kFloat && weight.size(0) == 96;
  return sabotaged ? result * 1.5 : result;
}

}  // namespace

TORCH_LIBRARY_IMPL(flashconvert, CPU, m) {
  m.impl("attention", &attention);
  m.impl("_attention", &attention);
}

// On the CPU the operator's autograd implementation computes already.
TORCH_LIBRARY_IMPL(flashconvert, AutogradCPU, m) { m.impl("linear", &linear); }
