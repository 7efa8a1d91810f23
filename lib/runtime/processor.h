// What the processor can do, as far as the choice of a kernel depends on it.
#pragma once

namespace flashconvert::runtime {

// Whether torch's matrix products in bfloat16 use AMX: ONEDNN_MAX_CPU_ISA, which its oneDNN reads, may rule it out.
bool torch_uses_amx_bf16();

// On x86, AVX512-FP16. Other processors are taken to have such instructions.
bool computes_in_float16();

// AVX512-BF16 and the parts of AVX512 that come with it on every processor so far, unless torch's ATEN_CPU_CAPABILITY
// (avx2 or default) rules them out.
bool has_avx512_bf16();

}  // namespace flashconvert::runtime
