// Fragments from shared memory. PTX ISA, section "Warp Level Matrix Instructions: ldmatrix" (sm_75 and up).
#pragma once

#include <cstdint>

namespace flashconvert::kernels::ptx {

// Four 8x8 matrices of 16-bit elements (or four 8x4 matrices of 32-bit ones). Lane 8i+r gives the address of row r of
// matrix i; every lane receives the 32 bits at row lane/4, word lane%4 of each matrix.
__device__ __forceinline__ void load_matrices(std::uint32_t (&fragment)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}

// The same, each 8x8 matrix of 16-bit elements transposed on the way.
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&fragment)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(address)
               : "memory");
}

// 16 bytes of shared memory to one lane. PTX ISA, section "Data Movement and Conversion Instructions: ld".
__device__ __forceinline__ float4 load_shared_16(std::uint32_t address) {
  float4 value;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
  return value;
}

}  // namespace flashconvert::kernels::ptx
