// Maps for the tensor copy engine: which operands it can read in place, and how they are described to it.
#pragma once

#include <cuda.h>
#include <driver_types.h>

#include "../ptx/matrix_descriptor.h"
#include "flashconvert/kernels/attention.h"

namespace flashconvert::kernels::sm90 {

enum class MapElement { kFloat16, kBFloat16, kFloat32, kBoolean };

// An operand [batch, heads, length, columns].
struct Operand {
  TensorView view;
  std::int64_t batch = 0;
  std::int64_t heads = 0;
  std::int64_t length = 0;
  std::int64_t columns = 0;
  MapElement element = MapElement::kFloat16;
};

// Whether the engine can read it: not empty, rows, heads and batches at multiples of 16 bytes, no negative strides.
bool can_be_mapped(const Operand& operand);

// Fills `map` for boxes of `box_rows` rows by one panel of the swizzle. The driver's function is looked up at run time,
// so that nothing has to be linked with it. cudaErrorNotSupported where the driver is too old.
cudaError_t make_tensor_map(const Operand& operand, ptx::Swizzle swizzle, int box_rows, CUtensorMap& map);

}  // namespace flashconvert::kernels::sm90
