// What never changes about the current device, asked once per device: launches are too frequent to ask each time.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <atomic>

namespace flashconvert::kernels {

// major * 10 + minor.
cudaError_t current_compute_capability(int& compute_capability);

cudaError_t multiprocessor_count(int& count);

// One fact about each device. Zero-initialised where it is static, as it has to be.
class DeviceFact {
public:
  // Calls `ask(device, value)` for the current device unless its (nonzero) answer is known.
  template <class Ask>
  cudaError_t get(int& value, const Ask& ask) {
    int device = 0;
    if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
    const auto index = static_cast<std::size_t>(device);
    if (index < known_.size()) {
      value = known_[index].load(std::memory_order_relaxed);
      if (value != 0) return cudaSuccess;
    }
    if (const cudaError_t error = ask(device, value); error != cudaSuccess) return error;
    if (index < known_.size()) known_[index].store(value, std::memory_order_relaxed);
    return cudaSuccess;
  }

private:
  std::array<std::atomic<int>, 64> known_{};
};

}  // namespace flashconvert::kernels
