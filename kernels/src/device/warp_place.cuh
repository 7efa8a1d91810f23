// Which rows and keys of a block's tiles are a warp's own.
#pragma once

#include "thread.cuh"

namespace flashconvert::kernels {

// The first of the warp's rows, in the tile of queries.
template <class Engine>
__device__ __forceinline__ int warp_row() {
  return warp_index() / Engine::kKeyWarps * 16 * Engine::kRowTiles;
}

// The first of its keys, in each tile of keys.
template <class Engine>
__device__ __forceinline__ int warp_key() {
  return Engine::kKeyWarps == 1 ? 0 : warp_index() % Engine::kKeyWarps * Engine::kWarpKeys;
}

}  // namespace flashconvert::kernels
