// The kernels that exist, as host functions: what the dispatch table (dispatch.cpp) points to and the files in
// instances/ define. No CUDA language here.
#pragma once

#include <driver_types.h>

#include "flashconvert/kernels/attention.h"
#include "sm90/tuning.h"
#include "tuning.h"

namespace flashconvert::kernels {

struct RangeFacts;

// float16 or bfloat16, on tensor cores with fp32 accumulation.
template <DType kDType, int kHeadDim, Variant kVariant, Lengths kLengths>
cudaError_t launch_mma16(const AttentionProblem& problem, void* workspace, cudaStream_t stream);

// float32, as three TF32 products on tensor cores.
template <int kHeadDim, Lengths kLengths>
cudaError_t launch_tf32x3(const AttentionProblem& problem, void* workspace, cudaStream_t stream);

// The tiles of Hopper's TF32 kernels that run where halves do not hold the operands.
constexpr Lengths tf32x3_beside_halves(int head_dim) {
  return head_dim == 256 ? Lengths::kLongOnHopper : Lengths::kLong;
}
template <int kHeadDim>
cudaError_t launch_tf32x3_unless_halves_hold(const AttentionProblem& problem, const RangeFacts* facts,
                                             cudaStream_t stream);

// float32 on Hopper, as three products of float16 halves, with the TF32 kernel beside it for operands beyond their
// range; Tile: one of sm90/split_tile.h.
template <class Tile>
cudaError_t launch_fp16x3(const AttentionProblem& problem, void* workspace, cudaStream_t stream);

// float16 or bfloat16 on Hopper's tensor cores (wgmma); Tile: one of sm90/tuning.h.
template <DType kDType, class Tile>
cudaError_t launch_sm90(const AttentionProblem& problem, void* workspace, cudaStream_t stream);

}  // namespace flashconvert::kernels
