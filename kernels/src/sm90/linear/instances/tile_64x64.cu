#include "../launch.cuh"

namespace flashconvert::kernels::sm90::linear {

template cudaError_t launch_linear<Rows64Columns64>(const Parameters&, int, cudaStream_t);

}  // namespace flashconvert::kernels::sm90::linear
