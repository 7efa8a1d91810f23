// 16-bit attention on Hopper: heads of up to 96, tiles of 128 queries.
#include "../launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_sm90<DType::kFloat16, sm90::D96Rows128>(const AttentionProblem&, void*, cudaStream_t);
template cudaError_t launch_sm90<DType::kBFloat16, sm90::D96Rows128>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
