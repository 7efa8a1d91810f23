// Raises a kernel's limit of shared memory.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>

namespace flashconvert::kernels {

// A block may use more than 48 KB of shared memory only after the kernel's attribute was raised on that device. The
// call is idempotent and touches no stream, so threads may race to it and a stream may be capturing.
template <auto kKernel>
cudaError_t allow_shared_memory(int bytes) {
  static std::atomic<std::uint64_t> allowed{0};  // a bit per device; devices beyond 64 ask every time
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const std::uint64_t bit = device < 64 ? std::uint64_t{1} << device : 0;
  if ((allowed.load(std::memory_order_acquire) & bit) != 0) return cudaSuccess;
  const cudaError_t error = cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error == cudaSuccess) allowed.fetch_or(bit, std::memory_order_release);
  return error;
}

}  // namespace flashconvert::kernels
