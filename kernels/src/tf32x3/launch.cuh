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

template <int kHeadDim>
cudaError_t launch_tf32x3_unless_halves_hold(const AttentionProblem& problem, const RangeFacts* facts,
                                             cudaStream_t stream) {
  return launch_unless_halves_hold<Tf32x3<kHeadDim, tf32x3_beside_halves(kHeadDim)>>(problem, facts, stream);
}

}  // namespace flashconvert::kernels
