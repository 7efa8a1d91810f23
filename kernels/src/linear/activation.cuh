// What a linear layer does to its sums.
#pragma once

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

}  // namespace flashconvert::kernels::linear
