// The definition of launch_tf32x3 (kernel_list.h), for the files in instances/.
#pragma once

#include "../device/attention_kernel.cuh"
#include "../kernel_list.h"
#include "../launch.cuh"
#include "engine.cuh"

namespace flashconvert::kernels {

template <int kHeadDim, Lengths kLengths>
cudaError_t launch_tf32x3(const AttentionProblem& problem, void* workspace, cudaStream_t stream) {
  return launch_attention<Tf32x3<kHeadDim, kLengths>>(problem, workspace, stream);
}

}  // namespace flashconvert::kernels
