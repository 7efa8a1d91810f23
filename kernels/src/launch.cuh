// Launches attention_kernel for an engine: one block per query tile of each head.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>

#include "device/attention_kernel.cuh"
#include "parameters.h"

namespace flashconvert::kernels {

// A block may use more than 48 KB of shared memory only after the kernel's attribute was raised on that device. The
// call is idempotent and touches no stream, so threads may race to it and a stream may be capturing.
template <class Engine>
cudaError_t allow_shared_memory() {
  static std::atomic<std::uint64_t> allowed{0};  // a bit per device; devices beyond 64 ask every time
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const std::uint64_t bit = device < 64 ? std::uint64_t{1} << device : 0;
  if ((allowed.load(std::memory_order_acquire) & bit) != 0) return cudaSuccess;
  const cudaError_t error =
      cudaFuncSetAttribute(attention_kernel<Engine>, cudaFuncAttributeMaxDynamicSharedMemorySize, Engine::kSharedBytes);
  if (error == cudaSuccess) allowed.fetch_or(bit, std::memory_order_release);
  return error;
}

template <class Engine>
cudaError_t launch_attention(const AttentionProblem& problem, cudaStream_t stream) {
  if (const cudaError_t error = allow_shared_memory<Engine>(); error != cudaSuccess) return error;
  const KernelParameters parameters = make_parameters(problem, Engine::kRows);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(parameters.query_tiles) * static_cast<unsigned>(parameters.total_heads));
  config.blockDim = dim3(Engine::kThreads);
  config.dynamicSmemBytes = Engine::kSharedBytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, attention_kernel<Engine>, parameters);
}

}  // namespace flashconvert::kernels
