// The second-level cache. PTX ISA, section "Data Movement and Conversion Instructions: discard" (sm_80 and up).
#pragma once

namespace flashconvert::kernels::ptx {

// Gives up the contents of the 128 bytes at `line`, a multiple of 128: what was changed there need not reach memory.
__device__ __forceinline__ void discard_line(void* line) {
  asm volatile("discard.global.L2 [%0], 128;" ::"l"(line) : "memory");
}

}  // namespace flashconvert::kernels::ptx
