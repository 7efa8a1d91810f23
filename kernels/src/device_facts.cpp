// Remembers device attributes: launches are too frequent to ask each time.
#include "device_facts.h"

#include <cuda_runtime.h>

#include <array>
#include <atomic>

namespace flashconvert::kernels {
namespace {

// Calls `ask(device, value)` for the current device unless its (nonzero) answer is known.
template <class Ask>
cudaError_t remembered(std::array<std::atomic<int>, 64>& known, int& value, const Ask& ask) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  const auto index = static_cast<std::size_t>(device);
  if (index < known.size()) {
    value = known[index].load(std::memory_order_relaxed);
    if (value != 0) return cudaSuccess;
  }
  if (const cudaError_t error = ask(device, value); error != cudaSuccess) return error;
  if (index < known.size()) known[index].store(value, std::memory_order_relaxed);
  return cudaSuccess;
}

}  // namespace

cudaError_t current_compute_capability(int& compute_capability) {
  static std::array<std::atomic<int>, 64> known{};
  return remembered(known, compute_capability, [](int device, int& value) {
    int major = 0;
    int minor = 0;
    if (const cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
        error != cudaSuccess) {
      return error;
    }
    const cudaError_t error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    value = major * 10 + minor;
    return error;
  });
}

cudaError_t multiprocessor_count(int& count) {
  static std::array<std::atomic<int>, 64> known{};
  return remembered(known, count, [](int device, int& value) {
    return cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device);
  });
}

}  // namespace flashconvert::kernels
