// What every operator with kernels of this project needs of CUDA: the device, its stream, scratch memory, errors.
//
// Links no CUDA library of torch's: the runtime is static, and shares the device's primary context (and so streams,
// memory and graph captures) with torch's. The one thing that only libtorch_cuda knows, the current stream, is asked of
// the copy that the process has already loaded.
#pragma once

#include <cstddef>
#include <optional>

#include "aten.h"

namespace flashconvert::runtime {

// Throws std::runtime_error where `code`, a CUDA error code, is not 0.
void check_cuda(int code, const char* what);

// Makes `device` the current one for as long as it lives.
class CurrentDevice {
public:
  explicit CurrentDevice(int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
  int previous_ = 0;
  bool changed_ = false;
};

// major * 10 + minor, asked once.
int compute_capability(int device);

// False where the process has no libtorch_cuda under its ordinary name (a static build, say).
bool knows_current_stream();
void* current_stream(int device);

// `bytes` bytes on the device of `like`, nothing where they are 0. Freed when it goes, and reused by torch's allocator
// in the order of the stream: a kernel that was started before may still use it.
std::optional<Tensor> make_workspace(const Tensor& like, std::size_t bytes);
void* data_of(const std::optional<Tensor>& workspace);

}  // namespace flashconvert::runtime
