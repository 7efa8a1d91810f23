// Launches attention_kernel for an engine: one block per query tile of each head, or several that share its keys.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>

#include "combine_splits.h"
#include "device/attention_kernel.cuh"
#include "device_facts.h"
#include "packed_heads.h"
#include "shared_limit.h"
#include "splits.h"

namespace flashconvert::kernels {

// How many blocks the current device runs at a time; never more than the tile was made for, although a card may have
// room for them, since `split_workspace_bytes` counts on that.
template <class Engine>
cudaError_t resident_blocks(int& count) {
  static DeviceFact per_multiprocessor;
  if (const cudaError_t error = multiprocessor_count(count); error != cudaSuccess) return error;
  int blocks = 0;
  const cudaError_t error = per_multiprocessor.get(blocks, [](int /*device*/, int& value) {
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(&value, attention_kernel<Engine>, Engine::kThreads,
                                                         Engine::kSharedBytes);
  });
  count = std::min(count, kMostMultiprocessors) * std::min(blocks, Engine::kTile.blocks_per_sm);
  return error;
}

// Whether the splits of all tiles can run as clusters at once. The blocks of a cluster have to fit in one part of the
// card, so that fewer may run than without.
template <class Engine>
cudaError_t run_in_clusters(const KernelParameters& parameters, const cudaLaunchConfig_t& config, bool& in_clusters) {
  static DeviceFact clusters[kMostSplitsInCluster + 1];
  in_clusters = false;
  if (!kKnowsClusters<Engine> ||
      !fit_in_cluster(parameters, parameters.splits, Engine::kTile, SharedMemoryPlan<Engine>::kState)) {
    return cudaSuccess;
  }
  int compute_capability = 0;
  cudaError_t error = current_compute_capability(compute_capability);
  if (error != cudaSuccess || compute_capability < 90) return error;
  int count = 0;
  error = clusters[parameters.splits].get(count, [&config](int /*device*/, int& value) {
    return cudaOccupancyMaxActiveClusters(&value, attention_kernel<Engine>, &config);
  });
  in_clusters = static_cast<unsigned>(count) >= config.gridDim.x;
  return error;
}

// The same for a problem whose operands may have been split in halves (fp16x3/range_facts.h): nothing is computed where
// those hold them, and no keys are split, so that no second kernel follows.
template <class Engine>
cudaError_t launch_unless_halves_hold(const AttentionProblem& problem, const RangeFacts* facts, cudaStream_t stream) {
  if (const cudaError_t error = allow_shared_memory<attention_kernel<Engine>>(Engine::kSharedBytes);
      error != cudaSuccess)
    return error;
  KernelParameters parameters = make_packed_parameters(problem, Engine::kRows);
  parameters.unless_halves_hold = facts;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(parameters.query_tiles) * static_cast<unsigned>(parameters.total_heads));
  config.blockDim = dim3(Engine::kThreads);
  config.dynamicSmemBytes = Engine::kSharedBytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, attention_kernel<Engine>, parameters);
}

template <class Engine>
cudaError_t launch_attention(const AttentionProblem& problem, void* workspace, cudaStream_t stream) {
  if (const cudaError_t error = allow_shared_memory<attention_kernel<Engine>>(Engine::kSharedBytes);
      error != cudaSuccess)
    return error;
  int blocks = 0;
  if (const cudaError_t error = resident_blocks<Engine>(blocks); error != cudaSuccess) return error;
  KernelParameters parameters = make_packed_parameters(problem, Engine::kRows);
  const int splits = Engine::kSplitsKeys ? split_count(parameters, Engine::kTile, blocks) : 1;
  set_splits(parameters, splits, workspace);

  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(parameters.query_tiles) * static_cast<unsigned>(parameters.total_heads),
                        static_cast<unsigned>(parameters.splits));
  config.blockDim = dim3(Engine::kThreads);
  config.dynamicSmemBytes = Engine::kSharedBytes;
  config.stream = stream;
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {1, config.gridDim.y, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  cudaError_t error = run_in_clusters<Engine>(parameters, config, parameters.splits_in_cluster);
  if (error != cudaSuccess) return error;
  config.numAttrs = parameters.splits_in_cluster ? 1 : 0;
  error = cudaLaunchKernelEx(&config, attention_kernel<Engine>, parameters);
  if (error != cudaSuccess || parameters.splits == 1 || parameters.splits_in_cluster) return error;
  return launch_combine_splits(problem.dtype, parameters, Engine::Softmax::kMaximumScale, stream);
}

}  // namespace flashconvert::kernels
