// Describes operands to the tensor copy engine.
#include "tensor_map.h"

#include <cuda_runtime.h>

namespace flashconvert::kernels::sm90 {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  constexpr unsigned kSinceCuda = 12000;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSinceCuda, cudaEnableDefault, &result);
  return error == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

CUtensorMapSwizzle swizzle_mode(ptx::Swizzle swizzle) {
  switch (swizzle) {
    case ptx::Swizzle::k32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case ptx::Swizzle::k64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    default:
      return CU_TENSOR_MAP_SWIZZLE_128B;
  }
}

// The stride of an extent of 1 is never used, but the driver checks it all the same.
std::int64_t used_stride(std::int64_t stride, std::int64_t extent) { return extent > 1 ? stride : 8; }

}  // namespace

bool can_be_mapped(const Operand& operand) {
  constexpr std::int64_t kElementsPerPiece = 8;  // 16 bytes
  constexpr std::int64_t kStrideLimit = (std::int64_t{1} << 40) / 2;
  const auto good_stride = [](std::int64_t stride, std::int64_t extent) {
    const std::int64_t used = used_stride(stride, extent);
    return used > 0 && used < kStrideLimit && used % kElementsPerPiece == 0;
  };
  return operand.batch > 0 && operand.heads > 0 && operand.length > 0 && operand.columns > 0 &&
         reinterpret_cast<std::uintptr_t>(operand.view.data) % 16 == 0 &&
         good_stride(operand.view.row_stride, operand.length) && good_stride(operand.view.head_stride, operand.heads) &&
         good_stride(operand.view.batch_stride, operand.batch);
}

cudaError_t make_tensor_map(const Operand& operand, ptx::Swizzle swizzle, int box_rows, CUtensorMap& map) {
  static const Encode encode = find_encode();
  if (encode == nullptr) return cudaErrorNotSupported;
  const auto size = [](std::int64_t value) { return static_cast<cuuint64_t>(value); };
  const auto stride_bytes = [&](std::int64_t stride, std::int64_t extent) {
    return size(used_stride(stride, extent) * 2);
  };
  const TensorView& view = operand.view;
  const cuuint64_t sizes[] = {size(operand.columns), size(operand.length), size(operand.heads), size(operand.batch)};
  const cuuint64_t strides[] = {stride_bytes(view.row_stride, operand.length),
                                stride_bytes(view.head_stride, operand.heads),
                                stride_bytes(view.batch_stride, operand.batch)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(ptx::panel_columns(swizzle)), static_cast<cuuint32_t>(box_rows), 1,
                            1};
  const cuuint32_t element_strides[] = {1, 1, 1, 1};
  const CUtensorMapDataType type =
      operand.dtype == DType::kFloat16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  const CUresult result = encode(&map, type, 4, const_cast<void*>(view.data), sizes, strides, box, element_strides,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_mode(swizzle),
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace flashconvert::kernels::sm90
