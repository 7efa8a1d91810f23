// The Hopper kernels for linear layers, as host functions; the files in instances/ define them.
#pragma once

#include <driver_types.h>

#include "parameters.h"
#include "tuning.h"

namespace flashconvert::kernels::sm90::linear {

// `clusters`: how many share out the tiles.
template <class Tile>
cudaError_t launch_linear(const Parameters& parameters, int clusters, cudaStream_t stream);

}  // namespace flashconvert::kernels::sm90::linear
