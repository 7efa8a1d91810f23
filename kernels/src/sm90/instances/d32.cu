// 16-bit attention on Hopper: heads of up to 32.
#include "../launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_sm90<DType::kFloat16, sm90::D32>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_sm90<DType::kBFloat16, sm90::D32>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
