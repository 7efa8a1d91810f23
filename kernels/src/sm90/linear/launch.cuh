// The definition of launch_linear (kernel_list.h), for the files in instances/.
#pragma once

#include <cuda_runtime.h>

#include "../../shared_limit.h"
#include "kernel.cuh"
#include "kernel_list.h"

namespace flashconvert::kernels::sm90::linear {

template <class Tile>
cudaError_t launch_linear(const Parameters& parameters, int clusters, cudaStream_t stream) {
  constexpr auto kKernel = linear_kernel<Tile>;
  constexpr int kSharedBytes = SharedMemoryPlan<Tile>::kBytes;
  if (const cudaError_t error = allow_shared_memory<kKernel>(kSharedBytes); error != cudaSuccess) return error;

  cudaLaunchAttribute attributes[2] = {};
  // Brought onto the card while the right operand is still being split; it waits before it reads that.
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {Tile::kCluster, 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(clusters * Tile::kCluster));
  config.blockDim = dim3(Tile::kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = Tile::kCluster > 1 ? 2 : 1;
  return cudaLaunchKernelEx(&config, kKernel, parameters);
}

}  // namespace flashconvert::kernels::sm90::linear
