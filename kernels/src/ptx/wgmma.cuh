// Products of a warpgroup: four consecutive warps, 64 rows, operands in shared memory or A in registers. PTX ISA,
// "Asynchronous Warpgroup Level Matrix Instructions": wgmma.mma_async, wgmma.fence, wgmma.commit_group,
// wgmma.wait_group; setmaxnreg is under "Miscellaneous Instructions". All need sm_90a.
//
// Accumulators: warp w of the group holds rows 16w to 16w + 15 in the layout of mma (ptx/mma.cuh), eight columns for
// every four registers. A in registers: 16 columns, as mma's A.
//
// ptxas has to see every accumulator in registers between issue and wait; where it cannot, it waits after each
// instruction (warnings C7508 and C7510, errors in this build). So: everything inlined, indices known at compile time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace flashconvert::kernels::ptx {

// Before the first product after ordinary code wrote accumulators or A registers.
__device__ __forceinline__ void warpgroup_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Ends a group of products.
__device__ __forceinline__ void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most `kPending` groups are under way.
template <int kPending>
__device__ __forceinline__ void warpgroup_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps the compiler from moving reads of the registers above a wait, or writes below a fence: to it, the product is
// done when it is issued.
template <int kCount>
__device__ __forceinline__ void pin_registers(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

// The same for A in registers: until the wait, the tensor cores may still read them, and nothing else may go there.
template <int kCount>
__device__ __forceinline__ void pin_operands(std::uint32_t (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(registers[i])::"memory");
}

// Ends a block of code for ptxas, which otherwise moves a wait up over the arithmetic that should run beside the
// products waited for: a loop that is never repeated. No compiler can know that (`length` is no negative number), nor
// drop it (it would store), nor turn its branch into a predicate. Three instructions.
__device__ __forceinline__ void end_code_block(int length, std::uint32_t shared_address) {
  asm volatile(
      "{\n"
      ".reg .pred never;\n"
      "again:\n"
      "setp.lt.s32 never, %0, 0;\n"
      "@never st.shared.u32 [%1], %0;\n"
      "@never bra again;\n"
      "}" ::"r"(length),
      "r"(shared_address)
      : "memory");
}

// Moves registers between the warpgroups of a block: the kernel is launched with the same number for all.
template <int kRegisters>
__device__ __forceinline__ void release_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// One instruction: 64 rows, kColumns columns, 16 terms. `from_shared` reads A and B by descriptors, both K-major;
// `from_registers` has A in registers and B MN-major. With `accumulate` false the old contents of c are ignored.
template <class Element, int kColumns>
struct WarpgroupProduct;

// Registers 8i to 8i + 7 of c, as operands and as the text that names them.
#define FLASHCONVERT_NAMES_1 "%0, %1, %2, %3, %4, %5, %6, %7"
#define FLASHCONVERT_NAMES_2 \
  FLASHCONVERT_NAMES_1       \
  ", "                       \
  "%8, %9, %10, %11, %12, %13, %14, %15"
#define FLASHCONVERT_NAMES_3 \
  FLASHCONVERT_NAMES_2       \
  ", "                       \
  "%16, %17, %18, %19, %20, %21, %22, %23"
#define FLASHCONVERT_NAMES_4 \
  FLASHCONVERT_NAMES_3       \
  ", "                       \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define FLASHCONVERT_NAMES_5 \
  FLASHCONVERT_NAMES_4       \
  ", "                       \
  "%32, %33, %34, %35, %36, %37, %38, %39"
#define FLASHCONVERT_NAMES_6 \
  FLASHCONVERT_NAMES_5       \
  ", "                       \
  "%40, %41, %42, %43, %44, %45, %46, %47"
#define FLASHCONVERT_NAMES_7 \
  FLASHCONVERT_NAMES_6       \
  ", "                       \
  "%48, %49, %50, %51, %52, %53, %54, %55"
#define FLASHCONVERT_NAMES_8 \
  FLASHCONVERT_NAMES_7       \
  ", "                       \
  "%56, %57, %58, %59, %60, %61, %62, %63"
#define FLASHCONVERT_NAMES_9 \
  FLASHCONVERT_NAMES_8       \
  ", "                       \
  "%64, %65, %66, %67, %68, %69, %70, %71"
#define FLASHCONVERT_NAMES_10 \
  FLASHCONVERT_NAMES_9        \
  ", "                        \
  "%72, %73, %74, %75, %76, %77, %78, %79"
#define FLASHCONVERT_NAMES_11 \
  FLASHCONVERT_NAMES_10       \
  ", "                        \
  "%80, %81, %82, %83, %84, %85, %86, %87"
#define FLASHCONVERT_NAMES_12 \
  FLASHCONVERT_NAMES_11       \
  ", "                        \
  "%88, %89, %90, %91, %92, %93, %94, %95"
#define FLASHCONVERT_NAMES_13 \
  FLASHCONVERT_NAMES_12       \
  ", "                        \
  "%96, %97, %98, %99, %100, %101, %102, %103"
#define FLASHCONVERT_NAMES_14 \
  FLASHCONVERT_NAMES_13       \
  ", "                        \
  "%104, %105, %106, %107, %108, %109, %110, %111"
#define FLASHCONVERT_NAMES_15 \
  FLASHCONVERT_NAMES_14       \
  ", "                        \
  "%112, %113, %114, %115, %116, %117, %118, %119"
#define FLASHCONVERT_NAMES_16 \
  FLASHCONVERT_NAMES_15       \
  ", "                        \
  "%120, %121, %122, %123, %124, %125, %126, %127"
#define FLASHCONVERT_EIGHT(c, i)                                                                                    \
  "+f"((c)[i]), "+f"((c)[(i) + 1]), "+f"((c)[(i) + 2]), "+f"((c)[(i) + 3]), "+f"((c)[(i) + 4]), "+f"((c)[(i) + 5]), \
      "+f"((c)[(i) + 6]), "+f"((c)[(i) + 7])
#define FLASHCONVERT_OPERANDS_1(c) FLASHCONVERT_EIGHT(c, 0)
#define FLASHCONVERT_OPERANDS_2(c) FLASHCONVERT_OPERANDS_1(c), FLASHCONVERT_EIGHT(c, 8)
#define FLASHCONVERT_OPERANDS_3(c) FLASHCONVERT_OPERANDS_2(c), FLASHCONVERT_EIGHT(c, 16)
#define FLASHCONVERT_OPERANDS_4(c) FLASHCONVERT_OPERANDS_3(c), FLASHCONVERT_EIGHT(c, 24)
#define FLASHCONVERT_OPERANDS_5(c) FLASHCONVERT_OPERANDS_4(c), FLASHCONVERT_EIGHT(c, 32)
#define FLASHCONVERT_OPERANDS_6(c) FLASHCONVERT_OPERANDS_5(c), FLASHCONVERT_EIGHT(c, 40)
#define FLASHCONVERT_OPERANDS_7(c) FLASHCONVERT_OPERANDS_6(c), FLASHCONVERT_EIGHT(c, 48)
#define FLASHCONVERT_OPERANDS_8(c) FLASHCONVERT_OPERANDS_7(c), FLASHCONVERT_EIGHT(c, 56)
#define FLASHCONVERT_OPERANDS_9(c) FLASHCONVERT_OPERANDS_8(c), FLASHCONVERT_EIGHT(c, 64)
#define FLASHCONVERT_OPERANDS_10(c) FLASHCONVERT_OPERANDS_9(c), FLASHCONVERT_EIGHT(c, 72)
#define FLASHCONVERT_OPERANDS_11(c) FLASHCONVERT_OPERANDS_10(c), FLASHCONVERT_EIGHT(c, 80)
#define FLASHCONVERT_OPERANDS_12(c) FLASHCONVERT_OPERANDS_11(c), FLASHCONVERT_EIGHT(c, 88)
#define FLASHCONVERT_OPERANDS_13(c) FLASHCONVERT_OPERANDS_12(c), FLASHCONVERT_EIGHT(c, 96)
#define FLASHCONVERT_OPERANDS_14(c) FLASHCONVERT_OPERANDS_13(c), FLASHCONVERT_EIGHT(c, 104)
#define FLASHCONVERT_OPERANDS_15(c) FLASHCONVERT_OPERANDS_14(c), FLASHCONVERT_EIGHT(c, 112)
#define FLASHCONVERT_OPERANDS_16(c) FLASHCONVERT_OPERANDS_15(c), FLASHCONVERT_EIGHT(c, 120)

// EIGHTS: columns / 16. X0 to X5: the numbers of the operands after the accumulators.
#define FLASHCONVERT_WARPGROUP_PRODUCT(ELEMENT, TYPE, COLUMNS, EIGHTS, X0, X1, X2, X3, X4, X5)                         \
  template <>                                                                                                          \
  struct WarpgroupProduct<ELEMENT, COLUMNS> {                                                                          \
    static __device__ __forceinline__ void from_shared(float (&c)[8 * EIGHTS], std::uint64_t a, std::uint64_t b,       \
                                                       bool accumulate) {                                              \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " X2                                                              \
                   ", 0;\n"                                                                                            \
                   "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k16.f32." TYPE "." TYPE                               \
                   " {" FLASHCONVERT_NAMES_##EIGHTS "}, " X0 ", " X1 ", p, 1, 1, 0, 0;\n}"                             \
                   : FLASHCONVERT_OPERANDS_##EIGHTS(c)                                                                 \
                   : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));                                               \
    }                                                                                                                  \
    static __device__ __forceinline__ void from_registers(float (&c)[8 * EIGHTS], const std::uint32_t (&a)[4],         \
                                                          std::uint64_t b, bool accumulate) {                          \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " X5                                                              \
                   ", 0;\n"                                                                                            \
                   "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k16.f32." TYPE "." TYPE                               \
                   " {" FLASHCONVERT_NAMES_##EIGHTS "}, {" X0 ", " X1 ", " X2 ", " X3 "}, " X4 ", p, 1, 1, 1;\n}"      \
                   : FLASHCONVERT_OPERANDS_##EIGHTS(c)                                                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));           \
    }                                                                                                                  \
    static __device__ __forceinline__ void from_registers_k_major(float (&c)[8 * EIGHTS], const std::uint32_t (&a)[4], \
                                                                  std::uint64_t b, bool accumulate) {                  \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " X5                                                              \
                   ", 0;\n"                                                                                            \
                   "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k16.f32." TYPE "." TYPE                               \
                   " {" FLASHCONVERT_NAMES_##EIGHTS "}, {" X0 ", " X1 ", " X2 ", " X3 "}, " X4 ", p, 1, 1, 0;\n}"      \
                   : FLASHCONVERT_OPERANDS_##EIGHTS(c)                                                                 \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));           \
    }                                                                                                                  \
  };
#define FLASHCONVERT_WARPGROUP_PRODUCTS(COLUMNS, EIGHTS, ...)                 \
  FLASHCONVERT_WARPGROUP_PRODUCT(__half, "f16", COLUMNS, EIGHTS, __VA_ARGS__) \
  FLASHCONVERT_WARPGROUP_PRODUCT(__nv_bfloat16, "bf16", COLUMNS, EIGHTS, __VA_ARGS__)

FLASHCONVERT_WARPGROUP_PRODUCTS(16, 1, "%8", "%9", "%10", "%11", "%12", "%13")
FLASHCONVERT_WARPGROUP_PRODUCTS(32, 2, "%16", "%17", "%18", "%19", "%20", "%21")
FLASHCONVERT_WARPGROUP_PRODUCTS(48, 3, "%24", "%25", "%26", "%27", "%28", "%29")
FLASHCONVERT_WARPGROUP_PRODUCTS(64, 4, "%32", "%33", "%34", "%35", "%36", "%37")
FLASHCONVERT_WARPGROUP_PRODUCTS(80, 5, "%40", "%41", "%42", "%43", "%44", "%45")
FLASHCONVERT_WARPGROUP_PRODUCTS(96, 6, "%48", "%49", "%50", "%51", "%52", "%53")
FLASHCONVERT_WARPGROUP_PRODUCTS(112, 7, "%56", "%57", "%58", "%59", "%60", "%61")
FLASHCONVERT_WARPGROUP_PRODUCTS(128, 8, "%64", "%65", "%66", "%67", "%68", "%69")
FLASHCONVERT_WARPGROUP_PRODUCTS(144, 9, "%72", "%73", "%74", "%75", "%76", "%77")
FLASHCONVERT_WARPGROUP_PRODUCTS(160, 10, "%80", "%81", "%82", "%83", "%84", "%85")
FLASHCONVERT_WARPGROUP_PRODUCTS(176, 11, "%88", "%89", "%90", "%91", "%92", "%93")
FLASHCONVERT_WARPGROUP_PRODUCTS(192, 12, "%96", "%97", "%98", "%99", "%100", "%101")
FLASHCONVERT_WARPGROUP_PRODUCTS(208, 13, "%104", "%105", "%106", "%107", "%108", "%109")
FLASHCONVERT_WARPGROUP_PRODUCTS(224, 14, "%112", "%113", "%114", "%115", "%116", "%117")
FLASHCONVERT_WARPGROUP_PRODUCTS(240, 15, "%120", "%121", "%122", "%123", "%124", "%125")
FLASHCONVERT_WARPGROUP_PRODUCTS(256, 16, "%128", "%129", "%130", "%131", "%132", "%133")

#undef FLASHCONVERT_WARPGROUP_PRODUCTS
#undef FLASHCONVERT_WARPGROUP_PRODUCT
#undef FLASHCONVERT_EIGHT
#undef FLASHCONVERT_NAMES_1
#undef FLASHCONVERT_OPERANDS_1
#undef FLASHCONVERT_NAMES_2
#undef FLASHCONVERT_OPERANDS_2
#undef FLASHCONVERT_NAMES_3
#undef FLASHCONVERT_OPERANDS_3
#undef FLASHCONVERT_NAMES_4
#undef FLASHCONVERT_OPERANDS_4
#undef FLASHCONVERT_NAMES_5
#undef FLASHCONVERT_OPERANDS_5
#undef FLASHCONVERT_NAMES_6
#undef FLASHCONVERT_OPERANDS_6
#undef FLASHCONVERT_NAMES_7
#undef FLASHCONVERT_OPERANDS_7
#undef FLASHCONVERT_NAMES_8
#undef FLASHCONVERT_OPERANDS_8
#undef FLASHCONVERT_NAMES_9
#undef FLASHCONVERT_OPERANDS_9
#undef FLASHCONVERT_NAMES_10
#undef FLASHCONVERT_OPERANDS_10
#undef FLASHCONVERT_NAMES_11
#undef FLASHCONVERT_OPERANDS_11
#undef FLASHCONVERT_NAMES_12
#undef FLASHCONVERT_OPERANDS_12
#undef FLASHCONVERT_NAMES_13
#undef FLASHCONVERT_OPERANDS_13
#undef FLASHCONVERT_NAMES_14
#undef FLASHCONVERT_OPERANDS_14
#undef FLASHCONVERT_NAMES_15
#undef FLASHCONVERT_OPERANDS_15
#undef FLASHCONVERT_NAMES_16
#undef FLASHCONVERT_OPERANDS_16

}  // namespace flashconvert::kernels::ptx
