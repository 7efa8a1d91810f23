// float32 attention on Hopper in halves: heads of up to 64, with a bias that all queries share.
#include "../split_launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_fp16x3<sm90::Split64KeyBias>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
