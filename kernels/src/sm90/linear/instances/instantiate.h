// A kernel for every activation. For the files beside this one.
#pragma once

#include "../launch.cuh"

#define FLASHCONVERT_LINEAR_KERNEL(TILE, ACTIVATION) \
  template cudaError_t launch_linear<TILE, Activation::ACTIVATION>(const Parameters&, int, cudaStream_t)

#define FLASHCONVERT_LINEAR_KERNELS(TILE)      \
  FLASHCONVERT_LINEAR_KERNEL(TILE, kNone);     \
  FLASHCONVERT_LINEAR_KERNEL(TILE, kGelu);     \
  FLASHCONVERT_LINEAR_KERNEL(TILE, kGeluTanh); \
  FLASHCONVERT_LINEAR_KERNEL(TILE, kRelu);     \
  FLASHCONVERT_LINEAR_KERNEL(TILE, kSilu)
