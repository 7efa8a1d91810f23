// What a Hopper kernel for operands in halves is launched with. The maps are of the halves.
#pragma once

#include "../fp16x3/range_facts.h"
#include "parameters.h"

namespace flashconvert::kernels::sm90 {

struct SplitParameters : Parameters {
  const RangeFacts* facts;
  // What the halves have to be multiplied with: one for each query row, one for each tile of keys.
  const float* query_scales;
  const float* key_scales;
  const float* value_scales;
  int key_heads;
  int key_tiles;
};

}  // namespace flashconvert::kernels::sm90
