// The kernels' public interface: scaled dot-product attention, forward only, on one CUDA device.
// Plain C++: no torch header and no CUDA header is needed to include it.
//
//   S[b,h,i,j] = scale * sum_d Q[b,h,i,d] * K[b,h*Hkv/H,j,d]
//   if softcap > 0:  S = softcap * tanh(S / softcap)
//   S += bias[b,h,i,j]            (a boolean bias that is false, and every key outside the window, makes S = -inf)
//   O[b,h,i,:] = softmax_j(S) V[b,h*Hkv/H,:,:]
//
// A row in which every key is masked gives NaN, as softmax does, or zeros with `zero_masked_rows`. With no keys at all
// (key_length == 0) every row is zero, as the matrix product of an empty sum is.
#pragma once

#include <cstddef>
#include <cstdint>

namespace flashconvert::kernels {

enum class DType : std::uint8_t { kFloat16, kBFloat16, kFloat32 };

enum class BiasKind : std::uint8_t {
  kNone,
  kSameAsQuery,  // floating, the dtype of the query
  kFloat32,      // floating, float32 beside 16-bit operands
  kBoolean,      // one byte an element, 0 masks the key
};

// A 4-D operand [batch, heads, length, features]. Strides are in elements; the last dimension has unit stride.
struct TensorView {
  const void* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
};

// The bias, read through its strides (0 = broadcast), never expanded in memory. Its batch index is split in two,
// b = outer * batch_inner + inner, so that a per-window mask (Swin: [1, windows, 1, L, L] beside a batch of
// images * windows) is read in place; batch_inner is 1 and inner_batch_stride 0 for everything else.
struct BiasView {
  const void* data = nullptr;
  BiasKind kind = BiasKind::kNone;
  std::int64_t batch_inner = 1;
  std::int64_t outer_batch_stride = 0;
  std::int64_t inner_batch_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 0;
};

struct AttentionProblem {
  DType dtype = DType::kFloat16;
  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t key_heads = 0;  // divides heads (grouped-query attention)
  std::int64_t query_length = 0;
  std::int64_t key_length = 0;
  std::int64_t head_dim = 0;   // of query and key, 1 to 256
  std::int64_t value_dim = 0;  // of value and output, 1 to 256

  TensorView query;
  TensorView key;
  TensorView value;
  BiasView bias;
  void* output = nullptr;  // dtype of the query; strides as for the operands
  std::int64_t output_batch_stride = 0;
  std::int64_t output_head_stride = 0;
  std::int64_t output_row_stride = 0;

  float scale = 1.F;
  float softcap = 0.F;  // 0: none

  // Key j is visible to query i when i + diagonal - window_left <= j <= i + diagonal + window_right; -1 is unlimited.
  // Causal attention is window_right = 0, with diagonal 0 (aligned top left, as SDPA's is_causal) or
  // key_length - query_length (aligned bottom right).
  std::int64_t window_left = -1;
  std::int64_t window_right = -1;
  std::int64_t diagonal = 0;

  bool zero_masked_rows = false;
};

// The kernel that `attention_forward` would run for this problem on the device of compute capability
// major * 10 + minor, such as "sm80-mma-f16-d64"; nullptr where none of them takes it (the caller then uses another
// library). Static storage. Looks at sizes, strides and pointer alignment, not at the data.
const char* select_kernel(const AttentionProblem& problem, int compute_capability);

// Bytes of scratch memory on the device that `attention_forward` needs for this problem (0 for most).
std::size_t workspace_bytes(const AttentionProblem& problem, int compute_capability);

// Enqueues the selected kernel on `stream` (a cudaStream_t) of the current device. `workspace` has at least
// `workspace_bytes` bytes, aligned to 256. Returns the CUDA error code (0 = success; 801, cudaErrorNotSupported, where
// `select_kernel` is null). Deterministic: the same inputs give the same bits. Safe under CUDA graph capture.
int attention_forward(const AttentionProblem& problem, void* workspace, void* stream);

// The text for a code that `attention_forward` returned.
const char* error_string(int code);

}  // namespace flashconvert::kernels
