// Loads from shared memory by address. PTX ISA, "Data Movement and Conversion Instructions: ld".
#pragma once

#include <cstdint>

namespace flashconvert::kernels::ptx {

// volatile and with a clobber: it must not move over the barrier that says that the data is there.
template <class T>
__device__ __forceinline__ T load_shared(std::uint32_t address);

template <>
__device__ __forceinline__ std::uint16_t load_shared<std::uint16_t>(std::uint32_t address) {
  std::uint16_t value;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(value) : "r"(address) : "memory");
  return value;
}

template <>
__device__ __forceinline__ std::uint32_t load_shared<std::uint32_t>(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

template <>
__device__ __forceinline__ float2 load_shared<float2>(std::uint32_t address) {
  float2 value;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(value.x), "=f"(value.y) : "r"(address) : "memory");
  return value;
}

}  // namespace flashconvert::kernels::ptx
