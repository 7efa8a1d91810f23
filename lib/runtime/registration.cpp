// The operators' schemas and their implementations for each dispatch key (docs/operator.md).
//
// flashconvert::attention and linear are what checkpoints call. _attention and _linear are the same without gradients:
// the autograd implementation of the first calls the second, because the stable interface has no guard that leaves
// autograd out of a call.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <initializer_list>
#include <string>

#include "composite.h"
#include "cpu.h"
#include "kernel_record.h"
#include "linear.h"
#include "problem.h"
#ifdef FLASHCONVERT_CUDA
#include "cuda.h"
#endif

namespace flashconvert::runtime {
namespace {

using Bias = std::optional<Tensor>;

// The implementations below have the schema's arguments, in its order. `implementation` takes the checked problem.
template <Tensor (*implementation)(const Problem&)>
Tensor checked(const Tensor& query, const Tensor& key, const Tensor& value, const Bias& bias, double scale, bool causal,
               Sizes window, double softcap, bool zero_masked_rows, bool bottom_right) {
  const Problem problem = make_problem(query, key, value, bias,
                                       {scale, causal, std::move(window), softcap, zero_masked_rows, bottom_right});
  return as_result(problem, implementation(problem));
}

bool records_history(std::initializer_list<const Tensor*> operands, const Bias& bias) {
  const auto requires_grad = [](const Tensor* operand) { return aten::requires_grad(*operand); };
  return aoti_torch_grad_mode_is_enabled() &&
         (std::any_of(operands.begin(), operands.end(), requires_grad) || (bias && aten::requires_grad(*bias)));
}

Tensor autograd(const Tensor& query, const Tensor& key, const Tensor& value, const Bias& bias, double scale,
                bool causal, Sizes window, double softcap, bool zero_masked_rows, bool bottom_right) {
  if (records_history({&query, &key, &value}, bias)) {
    return checked<differentiable_attention>(query, key, value, bias, scale, causal, std::move(window), softcap,
                                             zero_masked_rows, bottom_right);
  }
  // Checked here as well, because the dispatcher hands a message from the inner call to the log, not to the caller.
  check_arguments(query, key, value, bias, {scale, causal, window, softcap, zero_masked_rows, bottom_right});
  return aten::attention_without_gradients(query, key, value, bias, scale, causal, window, softcap, zero_masked_rows,
                                           bottom_right);
}

// As torch's scaled_dot_product_attention: query, key and value take autocast's dtype (float64 stays). The bias does
// not: a finite mask may lie beyond float16's range.
Tensor autocast(const Tensor& query, const Tensor& key, const Tensor& value, const Bias& bias, double scale,
                bool causal, Sizes window, double softcap, bool zero_masked_rows, bool bottom_right) {
  const auto cast = [](const Tensor& operand) { return aten::to(operand, aten::autocast_dtype(operand)); };
  return autograd(cast(query), cast(key), cast(value), bias, scale, causal, std::move(window), softcap,
                  zero_masked_rows, bottom_right);
}

template <Tensor (*implementation)(const Tensor&, const Tensor&, const Bias&, const std::string&)>
Tensor checked_linear(const Tensor& input, const Tensor& weight, const Bias& bias, const std::string& activation) {
  check_linear_arguments(input, weight, bias, activation);
  return implementation(input, weight, bias, activation);
}

// Where there are no kernels of this project's, torch's own are called at once, with or without gradients.
Tensor autograd_linear(const Tensor& input, const Tensor& weight, const Bias& bias, const std::string& activation) {
  check_linear_arguments(input, weight, bias, activation);  // here as well: see autograd
  const bool is_torchs = !input.is_cuda() || records_history({&input, &weight}, bias);
  return is_torchs ? torch_linear(input, weight, bias, activation)
                   : aten::linear_without_gradients(input, weight, bias, activation);
}

// As torch's linear: all operands take autocast's dtype.
Tensor autocast_linear(const Tensor& input, const Tensor& weight, const Bias& bias, const std::string& activation) {
  const auto cast = [](const Tensor& operand) { return aten::to(operand, aten::autocast_dtype(operand)); };
  return autograd_linear(cast(input), cast(weight), bias ? Bias(cast(*bias)) : Bias(), activation);
}

std::vector<std::string> kernels_used(bool clear) { return recorded_kernels(clear); }

}  // namespace
}  // namespace flashconvert::runtime

namespace runtime = flashconvert::runtime;

STABLE_TORCH_LIBRARY(flashconvert, m) {
  m.def(
      "attention(Tensor query, Tensor key, Tensor value, Tensor? bias=None, *, float scale, bool causal=False, "
      "int[2] window=[-1, -1], float softcap=0., bool zero_masked_rows=False, bool bottom_right=False) -> Tensor");
  m.def(
      "_attention(Tensor query, Tensor key, Tensor value, Tensor? bias, float scale, bool causal, int[2] window, "
      "float softcap, bool zero_masked_rows, bool bottom_right) -> Tensor");
  m.def("linear(Tensor input, Tensor weight, Tensor? bias=None, *, str activation='none') -> Tensor");
  m.def("_linear(Tensor input, Tensor weight, Tensor? bias, str activation) -> Tensor");
  m.def("kernels_used(bool clear=False) -> str[]");
}

STABLE_TORCH_LIBRARY_IMPL(flashconvert, CPU, m) {
  m.impl("attention", TORCH_BOX(&runtime::checked<runtime::attention_on_cpu>));
  m.impl("_attention", TORCH_BOX(&runtime::checked<runtime::attention_on_cpu>));
  m.impl("linear", TORCH_BOX(&runtime::checked_linear<runtime::torch_linear>));
  m.impl("_linear", TORCH_BOX(&runtime::checked_linear<runtime::torch_linear>));
}

#ifdef FLASHCONVERT_CUDA
STABLE_TORCH_LIBRARY_IMPL(flashconvert, CUDA, m) {
  m.impl("attention", TORCH_BOX(&runtime::checked<runtime::attention_on_cuda>));
  m.impl("_attention", TORCH_BOX(&runtime::checked<runtime::attention_on_cuda>));
  m.impl("linear", TORCH_BOX(&runtime::checked_linear<runtime::linear_on_cuda>));
  m.impl("_linear", TORCH_BOX(&runtime::checked_linear<runtime::linear_on_cuda>));
}
#endif

STABLE_TORCH_LIBRARY_IMPL(flashconvert, Meta, m) {
  m.impl("attention", TORCH_BOX(&runtime::checked<runtime::empty_output>));
  m.impl("_attention", TORCH_BOX(&runtime::checked<runtime::empty_output>));
  m.impl("linear", TORCH_BOX(&runtime::checked_linear<runtime::linear_on_meta>));
  m.impl("_linear", TORCH_BOX(&runtime::checked_linear<runtime::linear_on_meta>));
}

// Every other device, through aten operators.
STABLE_TORCH_LIBRARY_IMPL(flashconvert, CompositeExplicitAutograd, m) {
  m.impl("attention", TORCH_BOX(&runtime::checked<runtime::differentiable_attention>));
  m.impl("_attention", TORCH_BOX(&runtime::checked<runtime::differentiable_attention>));
  m.impl("kernels_used", TORCH_BOX(&runtime::kernels_used));
  m.impl("linear", TORCH_BOX(&runtime::checked_linear<runtime::torch_linear>));
  m.impl("_linear", TORCH_BOX(&runtime::checked_linear<runtime::torch_linear>));
}

STABLE_TORCH_LIBRARY_IMPL(flashconvert, Autograd, m) {
  m.impl("attention", TORCH_BOX(&runtime::autograd));
  m.impl("linear", TORCH_BOX(&runtime::autograd_linear));
}
STABLE_TORCH_LIBRARY_IMPL(flashconvert, AutocastCPU, m) {
  m.impl("attention", TORCH_BOX(&runtime::autocast));
  m.impl("linear", TORCH_BOX(&runtime::autocast_linear));
}
STABLE_TORCH_LIBRARY_IMPL(flashconvert, AutocastCUDA, m) {
  m.impl("attention", TORCH_BOX(&runtime::autocast));
  m.impl("linear", TORCH_BOX(&runtime::autocast_linear));
}
