// The operator `linear`: what its arguments must be, and its implementations. docs/operator.md says what it computes.
#pragma once

#include <optional>
#include <string>

#include "aten.h"

namespace flashconvert::runtime {

// Throws std::runtime_error with a message that names the argument, what was expected and what was given.
void check_linear_arguments(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                            const std::string& activation);

// The implementations take checked arguments.

// torch's own, on every device; differentiable.
Tensor torch_linear(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                    const std::string& activation);

// Shape and dtype alone.
Tensor linear_on_meta(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                      const std::string& activation);

// This project's kernels, where they take the problem and are faster than torch's; else torch's.
Tensor linear_on_cuda(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                      const std::string& activation);

}  // namespace flashconvert::runtime
