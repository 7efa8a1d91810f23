// Launches attention_kernel for an engine: one block per query tile of each head.
#pragma once

#include <cuda_runtime.h>

#include "device/attention_kernel.cuh"
#include "parameters.h"
#include "shared_limit.h"

namespace flashconvert::kernels {

template <class Engine>
cudaError_t launch_attention(const AttentionProblem& problem, cudaStream_t stream) {
  if (const cudaError_t error = allow_shared_memory<attention_kernel<Engine>>(Engine::kSharedBytes);
      error != cudaSuccess)
    return error;
  const KernelParameters parameters = make_parameters(problem, Engine::kRows);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(parameters.query_tiles) * static_cast<unsigned>(parameters.total_heads));
  config.blockDim = dim3(Engine::kThreads);
  config.dynamicSmemBytes = Engine::kSharedBytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, attention_kernel<Engine>, parameters);
}

}  // namespace flashconvert::kernels
