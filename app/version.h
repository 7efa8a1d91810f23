// What this build is.
#pragma once

#include <string>

namespace flashconvert::app {

inline constexpr const char* kVersion = FLASHCONVERT_VERSION;
inline constexpr const char* kCudaKernels = FLASHCONVERT_CUDA_KERNELS;  // "sm_80, sm_90a", or why there are none
std::string torch_version();

}  // namespace flashconvert::app
