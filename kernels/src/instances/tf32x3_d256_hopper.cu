// fp32 attention on Hopper, heads of up to 256.
#include "../tf32x3/launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_tf32x3<256, Lengths::kLongOnHopper>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_tf32x3_unless_halves_hold<256>(const AttentionProblem&, const RangeFacts*, cudaStream_t);
}  // namespace flashconvert::kernels
