// fp32 attention, heads of up to 128, at most 16 queries.
#include "../tf32x3/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_tf32x3<32, Lengths::kFew>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3<64, Lengths::kFew>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3<96, Lengths::kFew>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3<128, Lengths::kFew>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
