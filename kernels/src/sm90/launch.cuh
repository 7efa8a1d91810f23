// The definition of launch_sm90 (kernel_list.h), for the files in instances/.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <type_traits>

#include "../device_facts.h"
#include "../shared_limit.h"
#include "kernel.cuh"
#include "operands.h"
#include "tuning.h"

namespace flashconvert::kernels {

template <DType kDType, class Tile>
cudaError_t launch_sm90(const AttentionProblem& problem, void* workspace, cudaStream_t stream) {
  using Element = std::conditional_t<kDType == DType::kFloat16, __half, __nv_bfloat16>;
  constexpr auto kKernel = sm90::attention_kernel<Element, Tile>;
  constexpr int kSharedBytes = sm90::SharedMemoryPlan<Tile>::kBytes;
  if (const cudaError_t error = allow_shared_memory<kKernel>(kSharedBytes); error != cudaSuccess) return error;

  sm90::Parameters parameters;
  parameters.common = make_parameters(problem, Tile::kRows);
  if (const cudaError_t error =
          sm90::make_tensor_map(sm90::query_operand(problem), Tile::kHeadSwizzle, Tile::kRows, parameters.query);
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error =
          sm90::make_tensor_map(sm90::key_operand(problem), Tile::kHeadSwizzle, Tile::kKeys, parameters.key);
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error =
          sm90::make_tensor_map(sm90::value_operand(problem), Tile::kValueSwizzle, Tile::kKeys, parameters.value);
      error != cudaSuccess) {
    return error;
  }
  if constexpr (Tile::kMode == sm90::ScoreMode::kBias) {
    if (const cudaError_t error =
            sm90::make_tensor_map(sm90::bias_operand(problem), Tile::kBiasSwizzle, Tile::kRows, parameters.bias);
        error != cudaSuccess) {
      return error;
    }
  }

  parameters.tile_counter = nullptr;
  if (sm90::workspace_bytes(problem) > 0) {
    parameters.tile_counter = static_cast<int*>(workspace);
    if (const cudaError_t error = cudaMemsetAsync(workspace, 0, sizeof(int), stream); error != cudaSuccess)
      return error;
  }

  int multiprocessors = 0;
  if (const cudaError_t error = multiprocessor_count(multiprocessors); error != cudaSuccess) return error;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(
      static_cast<unsigned>(std::min(multiprocessors, parameters.common.query_tiles * parameters.common.total_heads)));
  config.blockDim = dim3(Tile::kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kKernel, parameters);
}

}  // namespace flashconvert::kernels
