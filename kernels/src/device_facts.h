// What never changes about the current device, asked once per device.
#pragma once

#include <driver_types.h>

namespace flashconvert::kernels {

// major * 10 + minor.
cudaError_t current_compute_capability(int& compute_capability);

cudaError_t multiprocessor_count(int& count);

}  // namespace flashconvert::kernels
