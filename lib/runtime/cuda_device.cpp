// See cuda_device.h.
#include "cuda_device.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <flashconvert/kernels/attention.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace flashconvert::runtime {
namespace {

int query_compute_capability(int device) {
  int major = 0;
  int minor = 0;
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  return major * 10 + minor;
}

using GetCurrentStream = AOTITorchError (*)(std::int32_t device, void** stream);

// Null where the process has no libtorch_cuda under its ordinary name (a static build, say).
GetCurrentStream find_get_current_stream() {
  void* const library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
  void* const handle = library != nullptr ? library : RTLD_DEFAULT;
  return reinterpret_cast<GetCurrentStream>(dlsym(handle, "aoti_torch_get_current_cuda_stream"));
}

GetCurrentStream get_current_stream() {
  static const GetCurrentStream function = find_get_current_stream();
  return function;
}

}  // namespace

void check_cuda(int code, const char* what) {
  if (code != 0) {
    throw std::runtime_error(std::string("flashconvert: ") + what + ": " + kernels::error_string(code));
  }
}

CurrentDevice::CurrentDevice(int device) {
  check_cuda(cudaGetDevice(&previous_), "cudaGetDevice");
  if (previous_ != device) {
    check_cuda(cudaSetDevice(device), "cudaSetDevice");
    changed_ = true;
  }
}

CurrentDevice::~CurrentDevice() {
  if (changed_) {
    cudaSetDevice(previous_);
  }
}

int compute_capability(int device) {
  static const std::vector<int> capabilities = [] {
    int count = 0;
    check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    std::vector<int> all;
    all.reserve(static_cast<std::size_t>(count));
    for (int index = 0; index < count; ++index) {
      all.push_back(query_compute_capability(index));
    }
    return all;
  }();
  return capabilities.at(static_cast<std::size_t>(device));
}

bool knows_current_stream() { return get_current_stream() != nullptr; }

void* current_stream(int device) {
  void* stream = nullptr;
  if (get_current_stream()(device, &stream) != AOTI_TORCH_SUCCESS) {
    throw std::runtime_error("flashconvert: torch gave no current CUDA stream");
  }
  return stream;
}

std::optional<Tensor> make_workspace(const Tensor& like, std::size_t bytes) {
  if (bytes == 0) {
    return std::nullopt;
  }
  return aten::empty(like, {static_cast<std::int64_t>(bytes)}, ScalarType::Byte);
}

void* data_of(const std::optional<Tensor>& workspace) { return workspace ? workspace->mutable_data_ptr() : nullptr; }

}  // namespace flashconvert::runtime
