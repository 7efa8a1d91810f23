// The facts that belong to no kernel: see device_facts.h.
#include "device_facts.h"

namespace flashconvert::kernels {

cudaError_t current_compute_capability(int& compute_capability) {
  static DeviceFact fact;
  return fact.get(compute_capability, [](int device, int& value) {
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
  static DeviceFact fact;
  return fact.get(count, [](int device, int& value) {
    return cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device);
  });
}

}  // namespace flashconvert::kernels
