// fp32 attention, heads of up to 32.
#include "../tf32x3/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_tf32x3<32, Lengths::kLong>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3<32, Lengths::kShort>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3_unless_halves_hold<32>(const AttentionProblem&, const RangeFacts*, cudaStream_t);
}  // namespace flashconvert::kernels
