// What a Hopper kernel is launched with: the common parameters, and the copy engine's maps of Q, K, V and the bias.
#pragma once

#include <cuda.h>

#include "../parameters.h"

namespace flashconvert::kernels::sm90 {

struct Parameters {
  CUtensorMap query;
  CUtensorMap key;
  CUtensorMap value;
  CUtensorMap bias;  // ScoreMode::kBias alone
  KernelParameters common;
  int* tile_counter;  // zero, in the workspace; null where all tiles cost the same
};

}  // namespace flashconvert::kernels::sm90
