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

CUtensorMapDataType data_type(MapElement element) {
  switch (element) {
    case MapElement::kFloat16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case MapElement::kBFloat16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case MapElement::kFloat32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    default:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  }
}

constexpr std::int64_t kPieceBytes = 16;  // the unit of the engine's addresses

std::int64_t element_bytes(MapElement element) {
  return element == MapElement::kBoolean ? 1 : element == MapElement::kFloat32 ? 4 : 2;
}

// In bytes. The stride of an extent of 1 is never used, but the driver checks it all the same.
std::int64_t stride_bytes(std::int64_t stride, std::int64_t extent, MapElement element) {
  return extent > 1 ? stride * element_bytes(element) : kPieceBytes;
}

}  // namespace

bool can_be_mapped(const Operand& operand) {
  constexpr std::int64_t kStrideLimit = std::int64_t{1} << 40;  // of bytes
  const auto good_stride = [&](std::int64_t stride, std::int64_t extent) {
    if (extent > 1 && (stride <= 0 || stride >= kStrideLimit)) return false;
    const std::int64_t bytes = stride_bytes(stride, extent, operand.element);
    return bytes < kStrideLimit && bytes % kPieceBytes == 0;
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
  const auto bytes = [&](std::int64_t stride, std::int64_t extent) {
    return size(stride_bytes(stride, extent, operand.element));
  };
  const TensorView& view = operand.view;
  const cuuint64_t sizes[] = {size(operand.columns), size(operand.length), size(operand.heads), size(operand.batch)};
  const cuuint64_t strides[] = {bytes(view.row_stride, operand.length), bytes(view.head_stride, operand.heads),
                                bytes(view.batch_stride, operand.batch)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(ptx::panel_bytes(swizzle) / element_bytes(operand.element)),
                            static_cast<cuuint32_t>(box_rows), 1, 1};
  const cuuint32_t element_strides[] = {1, 1, 1, 1};
  const CUresult result = encode(&map, data_type(operand.element), 4, const_cast<void*>(view.data), sizes, strides, box,
                                 element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle_mode(swizzle),
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace flashconvert::kernels::sm90
