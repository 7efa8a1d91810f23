// 16-bit attention with what its plain kernels cannot do, heads of up to 128, at most 16 queries.
#include "../mma16/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_mma16<DType::kFloat16, 128, Variant::kGeneral, Lengths::kFew>(const AttentionProblem&,
                                                                                          void*, cudaStream_t);
template cudaError_t launch_mma16<DType::kBFloat16, 128, Variant::kGeneral, Lengths::kFew>(const AttentionProblem&,
                                                                                           void*, cudaStream_t);
}  // namespace flashconvert::kernels
