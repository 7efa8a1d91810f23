// 16-bit attention, heads of up to 128, at most 64 queries.
#include "../mma16/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_mma16<DType::kFloat16, 128, Variant::kPlain, Lengths::kShort>(const AttentionProblem&,
                                                                                          void*, cudaStream_t);
template cudaError_t launch_mma16<DType::kBFloat16, 128, Variant::kPlain, Lengths::kShort>(const AttentionProblem&,
                                                                                           void*, cudaStream_t);
template cudaError_t launch_mma16<DType::kFloat16, 128, Variant::kGeneral, Lengths::kShort>(const AttentionProblem&,
                                                                                            void*, cudaStream_t);
template cudaError_t launch_mma16<DType::kBFloat16, 128, Variant::kGeneral, Lengths::kShort>(const AttentionProblem&,
                                                                                             void*, cudaStream_t);
}  // namespace flashconvert::kernels
