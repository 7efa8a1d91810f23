// The launch of the second kernel of a split problem (splits.h), as a host function. No CUDA language here.
#pragma once

#include <driver_types.h>

#include "parameters.h"

namespace flashconvert::kernels {

// Writes the finished rows. `maximum_scale`: what turns a difference of the stored maxima into a power of two.
cudaError_t launch_combine_splits(DType dtype, const KernelParameters& parameters, float maximum_scale,
                                  cudaStream_t stream);

}  // namespace flashconvert::kernels
