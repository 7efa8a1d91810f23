// float32 attention on Hopper in halves: heads of up to 96.
#include "../split_launch.cuh"

namespace flashconvert::kernels {
template cudaError_t launch_fp16x3<sm90::Split96>(const AttentionProblem&, void*, cudaStream_t);
}  // namespace flashconvert::kernels
