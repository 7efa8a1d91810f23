// 16-bit attention on Hopper: heads of up to 64, with a bias that all queries share.
#include "../launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_sm90<DType::kFloat16, sm90::D64KeyBias>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_sm90<DType::kBFloat16, sm90::D64KeyBias>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
