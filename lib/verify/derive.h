// Other shapes for the arguments of a call: sizes that are equal among the inputs (a batch, a length) are varied
// together.
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace flashconvert::verify {

// One dimension of one tensor; tensors are counted through all arguments in order.
struct Dimension {
  std::size_t tensor;
  std::int64_t dim;
};

// Dimensions of equal size that are taken for the same thing.
struct DimensionGroup {
  std::int64_t size;
  std::vector<Dimension> dimensions;
};

// The groups to vary, the likeliest first: leading dimensions (batches), then the others, then leading and others of
// the same size together.
std::vector<DimensionGroup> dimension_groups(const std::vector<c10::IValue>& arguments);

// An odd size near to `size`, below it where that leaves more than 1 (so that tables of positions do not end).
std::int64_t odd_size(std::int64_t size);

// The arguments with the group's dimensions at another size: values are repeated cyclically or cut off, so that ids
// stay within their tables and masks what they were; meta tensors stay meta.
std::vector<c10::IValue> resized(const std::vector<c10::IValue>& arguments, const DimensionGroup& group,
                                 std::int64_t size);

}  // namespace flashconvert::verify
