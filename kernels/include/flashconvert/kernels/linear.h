// The kernels' public interface: a linear layer in float32, forward only, on one CUDA device.
// Plain C++: no torch header and no CUDA header is needed to include it.
//
//   output[m, n] = activation(sum_k input[m, k] * weight[n, k] + bias[n])
//
// As accurate as a product in float32 whose sums are rounded to nearest, or more: docs/kernels/fp32.md has the error
// analysis. Infinities and NaN come out where float32 arithmetic gives them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashconvert::kernels {

enum class Activation : std::uint8_t {
  kNone,
  kGelu,      // x Phi(x), with the error function
  kGeluTanh,  // its approximation by tanh
  kRelu,
  kSilu,
};

// A matrix of float32. Strides are in elements; none is negative.
struct MatrixView {
  const float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};

// Where the kernels are as fast and as accurate as torch's, or better. Fewer rows are a matter of reading the weight
// once, which torch's kernels for them do as well, and add in as many pieces; with few terms in a sum the halves' own
// rounding shows beside float32's; fewer results in a row have not been measured.
inline constexpr std::int64_t kLeastRows = 32;
inline constexpr std::int64_t kLeastInFeatures = 256;
inline constexpr std::int64_t kLeastOutFeatures = 64;

struct LinearProblem {
  std::int64_t rows = 0;          // M
  std::int64_t in_features = 0;   // K
  std::int64_t out_features = 0;  // N

  MatrixView input;             // [M, K]
  MatrixView weight;            // [N, K]
  const float* bias = nullptr;  // [N], contiguous; null: none
  Activation activation = Activation::kNone;
  float* output = nullptr;
  std::int64_t output_row_stride = 0;  // columns are contiguous
};

// The kernel that `linear_forward` would run for this problem on the device of compute capability major * 10 + minor;
// nullptr where none takes it. Static storage. Looks at sizes, strides and alignment, not at the data.
const char* select_kernel(const LinearProblem& problem, int compute_capability);

// Bytes of scratch memory on the device that `linear_forward` needs for this problem.
std::size_t workspace_bytes(const LinearProblem& problem, int compute_capability);

// Enqueues the selected kernel on `stream` (a cudaStream_t) of the current device. `workspace` has at least
// `workspace_bytes` bytes, aligned to 256. Returns the CUDA error code (0 = success; 801, cudaErrorNotSupported, where
// `select_kernel` is null; error_string in attention.h has the text). Operands are read at every call and nothing is
// kept between calls. Deterministic: the same inputs give the same bits. Safe under CUDA graph capture.
int linear_forward(const LinearProblem& problem, void* workspace, void* stream);

}  // namespace flashconvert::kernels
