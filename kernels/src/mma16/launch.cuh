// The definition of launch_mma16 (kernel_list.h), for the files in instances/.
#pragma once

#include "../device/attention_kernel.cuh"
#include "../launch.cuh"
#include "engine.cuh"

namespace flashconvert::kernels {

template <DType kDType, int kHeadDim, Variant kVariant, Lengths kLengths>
cudaError_t launch_mma16(const AttentionProblem& problem, void* workspace, cudaStream_t stream) {
  static_assert(kDType != DType::kFloat32, "fp32 is tf32x3's");
  using Element = std::conditional_t<kDType == DType::kFloat16, __half, __nv_bfloat16>;
  return launch_attention<Mma16<Element, kHeadDim, kVariant, kLengths>>(problem, workspace, stream);
}

}  // namespace flashconvert::kernels
