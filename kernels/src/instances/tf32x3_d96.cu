// fp32 attention, heads of up to 96.
#include "../tf32x3/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_tf32x3<96, Lengths::kLong>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3<96, Lengths::kShort>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
