// 16-bit attention, heads of up to 32.
#include "../mma16/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_mma16<DType::kFloat16, 32, Variant::kPlain, Lengths::kLong>(const AttentionProblem&, void*,
                                                                                        cudaStream_t);
template cudaError_t launch_mma16<DType::kBFloat16, 32, Variant::kPlain, Lengths::kLong>(const AttentionProblem&, void*,
                                                                                         cudaStream_t);
template cudaError_t launch_mma16<DType::kFloat16, 32, Variant::kGeneral, Lengths::kLong>(const AttentionProblem&,
                                                                                          void*, cudaStream_t);
template cudaError_t launch_mma16<DType::kBFloat16, 32, Variant::kGeneral, Lengths::kLong>(const AttentionProblem&,
                                                                                           void*, cudaStream_t);
}  // namespace flashconvert::kernels
