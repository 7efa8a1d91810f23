// What a Hopper kernel for linear layers is launched with.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "../../linear/row_scale.h"
#include "flashconvert/kernels/linear.h"

namespace flashconvert::kernels::sm90::linear {

struct Parameters {
  CUtensorMap left;
  CUtensorMap right;
  // The operands as they are, for results that are computed again (repair.cuh).
  MatrixView left_values;
  MatrixView right_values;
  const kernels::linear::RowScale* right_scales;

  // Element (l, r) of the product goes to output[l * left_stride + r * right_stride]; one of the two is 1.
  float* output;
  std::int64_t left_stride;
  std::int64_t right_stride;
  const float* left_bias;  // one of the two, or neither
  const float* right_bias;
  Activation activation;
  bool stores_pairs;  // of neighbours in r: alignment and strides allow it, and nothing is added but a bias for each r

  int left_rows;
  int right_rows;
  int depth;
  int chunks;
  int parts;        // of the sums; see epilogue.cuh
  int part_chunks;  // of all parts but the last
  int left_units;   // tiles of left rows, a cluster's together
  int right_tiles;
  int band;  // tiles of right rows that are walked through together, while they are in the cache
};

}  // namespace flashconvert::kernels::sm90::linear
