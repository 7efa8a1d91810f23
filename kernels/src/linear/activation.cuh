// What a linear layer does to its sums.
#pragma once

#include <type_traits>

#include "flashconvert/kernels/linear.h"

namespace flashconvert::kernels::linear {

template <Activation kActivation>
__device__ __forceinline__ float activate(float x) {
  if constexpr (kActivation == Activation::kGelu) {
    return 0.5F * x * (1.F + erff(x * 0.70710678118654752F));
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    return 0.5F * x * (1.F + tanhf(0.79788456080286536F * fmaf(0.044715F * x * x, x, x)));
  } else if constexpr (kActivation == Activation::kRelu) {
    return x < 0.F ? 0.F : x;  // NaN stays
  } else if constexpr (kActivation == Activation::kSilu) {
    return x / (1.F + expf(-x));
  } else {
    return x;
  }
}

// Calls visit(activation) with the activation as a constant, so that each has code of its own and none a branch for
// every element.
template <class Visit>
__device__ __forceinline__ void with_constant(Activation activation, const Visit& visit) {
  switch (activation) {
    case Activation::kNone:
      return visit(std::integral_constant<Activation, Activation::kNone>());
    case Activation::kGelu:
      return visit(std::integral_constant<Activation, Activation::kGelu>());
    case Activation::kGeluTanh:
      return visit(std::integral_constant<Activation, Activation::kGeluTanh>());
    case Activation::kRelu:
      return visit(std::integral_constant<Activation, Activation::kRelu>());
    case Activation::kSilu:
      return visit(std::integral_constant<Activation, Activation::kSilu>());
  }
}

}  // namespace flashconvert::kernels::linear
