// Asynchronous copies from global to shared memory. PTX ISA, section "Data Movement and Conversion Instructions:
// Asynchronous copy", cp.async (sm_80 and up).
#pragma once

#include <cstdint>

namespace flashconvert::kernels::ptx {

// The address that ldmatrix and cp.async take: a 32-bit offset in the shared window.
__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies the first `bytes` (0 to 16) of 16 and fills the rest with zeros; both addresses are multiples of 16. With
// bytes == 0 nothing is read. `.cg` keeps the data out of L1, where nobody would find it again.
__device__ __forceinline__ void copy_async_16(std::uint32_t shared, const void* global, std::uint32_t bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void commit_async_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `kPending` of this thread's committed groups are still under way.
template <int kPending>
__device__ __forceinline__ void wait_async_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace flashconvert::kernels::ptx
