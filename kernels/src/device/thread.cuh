// The thread's place in its block.
#pragma once

namespace flashconvert::kernels {

// A copy of `value` that the compiler takes for a new one. What is derived from it inside a loop is computed there, in
// a few integer instructions, instead of being held in registers through the whole kernel: with the accumulators alone
// taking three quarters of them, the hoisted addresses and bounds would spill.
__device__ __forceinline__ int recomputed(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

__device__ __forceinline__ int thread_index() { return recomputed(static_cast<int>(threadIdx.x)); }
__device__ __forceinline__ int lane_index() { return thread_index() % 32; }
__device__ __forceinline__ int warp_index() { return thread_index() / 32; }

}  // namespace flashconvert::kernels
