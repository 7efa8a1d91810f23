// The definition of launch_fp16x3 (kernel_list.h), for the files in instances/: operands are split, and then the kernel
// for halves and the one for TF32 are launched, one of which returns at once.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>

#include "../device_facts.h"
#include "../fp16x3/split_operands.cuh"
#include "../kernel_list.h"
#include "../shared_limit.h"
#include "split_kernel.cuh"
#include "split_tile.h"
#include "tensor_map.h"

namespace flashconvert::kernels {
namespace sm90 {

// A workspace with its parts' places.
struct SplitWorkspace {
  char* base;
  fp16x3::Layout layout;

  RangeFacts* facts() const { return reinterpret_cast<RangeFacts*>(base); }
  float* scales(std::size_t offset) const { return reinterpret_cast<float*>(base + offset); }
  std::uint16_t* halves(std::size_t offset) const { return reinterpret_cast<std::uint16_t*>(base + offset); }
};

inline bool has_vectors(const TensorView& view, std::int64_t columns) {
  return reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0 && columns % 4 == 0 && view.row_stride % 4 == 0 &&
         view.head_stride % 4 == 0 && view.batch_stride % 4 == 0;
}

template <class Tile>
cudaError_t split_operands(const AttentionProblem& problem, const SplitWorkspace& workspace, cudaStream_t stream) {
  const fp16x3::Layout& layout = workspace.layout;
  fp16x3::SplitParameters p = {};
  p.facts = workspace.facts();
  p.scale = std::fabs(problem.scale);
  std::int64_t end = 0;
  const auto add = [&](fp16x3::Part part, const TensorView& view, std::size_t halves, std::size_t scales,
                       std::int64_t heads, std::int64_t length, std::int64_t columns) {
    const std::int64_t tiles = (length + Tile::kKeys - 1) / Tile::kKeys;
    end += problem.batch * heads * tiles;
    p.jobs[static_cast<int>(part)] = {view,
                                      workspace.halves(halves),
                                      workspace.scales(scales),
                                      static_cast<int>(heads),
                                      static_cast<int>(length),
                                      static_cast<int>(columns),
                                      static_cast<int>(tiles),
                                      static_cast<int>(end),
                                      has_vectors(view, columns)};
  };
  add(fp16x3::Part::kQuery, problem.query, layout.query, layout.query_scales, problem.heads, problem.query_length,
      problem.head_dim);
  add(fp16x3::Part::kKey, problem.key, layout.key, layout.key_scales, problem.key_heads, problem.key_length,
      problem.head_dim);
  add(fp16x3::Part::kValue, problem.value, layout.value, layout.value_scales, problem.key_heads, problem.key_length,
      problem.value_dim);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(end));
  config.blockDim = dim3(fp16x3::kSplitThreads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, fp16x3::split_operands_kernel<Tile::kHeadDim, Tile::kKeys>, p);
}

// Halves as the copy engine sees them.
template <class Tile>
cudaError_t map_halves(const AttentionProblem& problem, const SplitWorkspace& workspace, SplitParameters& p) {
  const auto make = [&](std::size_t offset, std::int64_t heads, std::int64_t length, int box_rows, CUtensorMap& map) {
    constexpr std::int64_t kColumns = Tile::kHeadColumns;
    const TensorView view = {workspace.halves(offset), heads * length * kColumns, length * kColumns, kColumns};
    return make_tensor_map({view, problem.batch, heads, length, kColumns, MapElement::kFloat16}, Tile::kHeadSwizzle,
                           box_rows, map);
  };
  const fp16x3::Layout& layout = workspace.layout;
  cudaError_t error = make(layout.query, problem.heads, problem.query_length, Tile::kRows, p.query);
  if (error != cudaSuccess) return error;
  error = make(layout.key, problem.key_heads, problem.key_length, Tile::kKeys, p.key);
  if (error != cudaSuccess) return error;
  return make(layout.value, problem.key_heads, problem.key_length, Tile::kKeys, p.value);
}

}  // namespace sm90

template <class Tile>
cudaError_t launch_fp16x3(const AttentionProblem& problem, void* workspace, cudaStream_t stream) {
  constexpr auto kKernel = sm90::split_attention_kernel<Tile>;
  constexpr int kSharedBytes = sm90::SharedMemoryPlan<Tile>::kBytes;
  if (const cudaError_t error = allow_shared_memory<kKernel>(kSharedBytes); error != cudaSuccess) return error;
  const sm90::SplitWorkspace place = {static_cast<char*>(workspace), fp16x3::make_layout(problem, Tile::kSizes)};

  sm90::SplitParameters p = {};
  p.common = make_parameters(problem, Tile::kRows);
  if (const cudaError_t error = sm90::map_halves<Tile>(problem, place, p); error != cudaSuccess) return error;
  p.facts = place.facts();
  p.tile_counter = has_uneven_tiles(problem) ? &place.facts()->tile_counter : nullptr;
  p.query_scales = place.scales(place.layout.query_scales);
  p.key_scales = place.scales(place.layout.key_scales);
  p.value_scales = place.scales(place.layout.value_scales);
  p.key_heads = static_cast<int>(problem.key_heads);
  p.key_tiles = static_cast<int>(place.layout.tiles);

  if (const cudaError_t error = cudaMemsetAsync(workspace, 0, sizeof(RangeFacts), stream); error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error = sm90::split_operands<Tile>(problem, place, stream); error != cudaSuccess) return error;
  int multiprocessors = 0;
  if (const cudaError_t error = multiprocessor_count(multiprocessors); error != cudaSuccess) return error;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(std::min(multiprocessors, p.common.query_tiles * p.common.total_heads)));
  config.blockDim = dim3(Tile::kThreads);
  config.dynamicSmemBytes = kSharedBytes;
  config.stream = stream;
  if (const cudaError_t error = cudaLaunchKernelEx(&config, kKernel, p); error != cudaSuccess) return error;
  return launch_tf32x3_unless_halves_hold<Tile::kHeadDim>(problem, place.facts(), stream);
}

}  // namespace flashconvert::kernels
