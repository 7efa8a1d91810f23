// Tensor-core products of one warp, accumulated in fp32. PTX ISA, section "Warp Level Matrix Instructions: mma"
// (m16n8k16 for .f16 and .bf16, m16n8k8 for .tf32; sm_80 and up).
//
// Fragment layout, with g = lane / 4 and t = lane % 4:
//   accumulator c[0], c[1]: row g, columns 2t, 2t+1;  c[2], c[3]: row g+8
//   16 bit: a[0] row g, columns 2t, 2t+1; a[1] row g+8; a[2], a[3] the same 8 columns on.  b[0] rows 2t, 2t+1 of
//           column g; b[1] 8 rows on.
//   tf32:   a[0] row g, column t; a[1] row g+8; a[2], a[3] the same 4 columns on.  b[0] row t, column g; b[1] row t+4.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace flashconvert::kernels::ptx {

template <class T>
__device__ __forceinline__ void multiply_accumulate(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                    std::uint32_t b1);

template <>
__device__ __forceinline__ void multiply_accumulate<__half>(float (&c)[4], const std::uint32_t (&a)[4],
                                                            std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void multiply_accumulate<__nv_bfloat16>(float (&c)[4], const std::uint32_t (&a)[4],
                                                                   std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The operands are fp32 bit patterns; the unit ignores their 13 low bits.
__device__ __forceinline__ void multiply_accumulate_tf32(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                                         std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace flashconvert::kernels::ptx
