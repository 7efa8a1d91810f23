// See cpu_bfloat16.h.
#include "cpu_bfloat16.h"

#include "processor.h"

#if defined(__x86_64__)

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "avx512_bf16.h"
#include "kernel_record.h"

namespace flashconvert::runtime {
namespace {

// Fewer multiplications, which take some microseconds, are not worth waking a thread.
constexpr std::int64_t kWorkOfThread = std::int64_t{1} << 19;

template <typename Element>
avx512_bf16::Rows<Element> rows_of(const Tensor& tensor, Element* data) {
  return {data, broadcast_stride(tensor, 0), broadcast_stride(tensor, 1), broadcast_stride(tensor, 2)};
}

avx512_bf16::Rows<const std::uint16_t> rows_of(const Tensor& operand) {
  return rows_of(operand, static_cast<const std::uint16_t*>(operand.const_data_ptr()));
}

avx512_bf16::Bias bias_of(const Tensor& bias) {
  using avx512_bf16::BiasType;
  const ScalarType dtype = bias.scalar_type();
  const BiasType type = dtype == ScalarType::Bool    ? BiasType::kBoolean
                        : dtype == ScalarType::Float ? BiasType::kFloat32
                                                     : BiasType::kBfloat16;
  return {type, rows_of(bias, bias.const_data_ptr()), broadcast_stride(bias, 3)};
}

}  // namespace

bool bfloat16_kernel_takes(const Problem& problem) {
  return problem.dtype == ScalarType::BFloat16 && has_avx512_bf16() && !torch_uses_amx_bf16();
}

Tensor attention_in_bfloat16(const Problem& problem) {
  record_kernel("avx512_bf16");
  const Tensor query = aten::with_unit_stride(problem.query);
  const Tensor key = aten::with_unit_stride(problem.key);
  const Tensor value = aten::with_unit_stride(problem.value);
  const auto bias = bias_in_four_dimensions(problem);
  Tensor output = empty_output(problem);

  avx512_bf16::Attention attention;
  attention.batch = problem.batch;
  attention.key_heads = problem.key_heads;
  attention.group = problem.group();
  attention.query_length = problem.query_length;
  attention.key_length = problem.key_length;
  attention.head_dim = problem.head_dim;
  attention.value_dim = problem.value_dim;
  attention.query = rows_of(query);
  attention.key = rows_of(key);
  attention.value = rows_of(value);
  attention.output = rows_of(output, static_cast<std::uint16_t*>(output.mutable_data_ptr()));
  if (bias) {
    attention.bias = bias_of(*bias);
  }
  attention.scale = static_cast<float>(problem.scale);
  attention.softcap = static_cast<float>(problem.softcap);
  const Band& band = problem.band;
  attention.first_key = band.left < 0 ? -problem.query_length : band.diagonal - band.left;
  attention.end_key = band.right < 0 ? problem.key_length : band.diagonal + band.right + 1;
  attention.zero_masked_rows = problem.zero_masked_rows && (bias || band.limits());

  const std::int64_t grain =
      std::max<std::int64_t>(kWorkOfThread / std::max<std::int64_t>(work_of_piece(attention), 1), 1);
  torch::stable::parallel_for(0, count_pieces(attention), grain, [&](std::int64_t begin, std::int64_t end) {
    avx512_bf16::compute(attention, begin, end);
  });
  return output;
}

}  // namespace flashconvert::runtime

#else

#include <stdexcept>

namespace flashconvert::runtime {

bool bfloat16_kernel_takes(const Problem&) { return false; }

Tensor attention_in_bfloat16(const Problem&) { throw std::logic_error("no processor of this kind has the kernel"); }

}  // namespace flashconvert::runtime

#endif
