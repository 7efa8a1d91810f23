// A kernel that may start before the one before it on the stream has ended. PTX ISA, section "Parallel Synchronization
// and Communication Instructions: griddepcontrol" (sm_90 and up; earlier cards launch one kernel after the other).
#pragma once

namespace flashconvert::kernels::ptx {

// In the first kernel: the next one may be brought onto the multiprocessors as soon as every block has come here.
__device__ __forceinline__ void allow_dependent_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// In the second: waits until the first has ended and what it wrote can be read.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace flashconvert::kernels::ptx
