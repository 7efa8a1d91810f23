// Groups dimensions and resizes tensors along them.
#include "verify/derive.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "checkpoint/map_tensors.h"

namespace flashconvert::verify {

using checkpoint::map_tensors;

namespace {

at::Tensor resized_tensor(const at::Tensor& tensor, std::int64_t dim, std::int64_t size) {
  if (tensor.is_meta()) {
    auto sizes = tensor.sizes().vec();
    sizes[static_cast<std::size_t>(dim)] = size;
    return at::empty(sizes, tensor.options(), tensor.suggest_memory_format());
  }
  return tensor.index_select(dim, at::arange(size).remainder(tensor.size(dim)));
}

}  // namespace

std::vector<DimensionGroup> dimension_groups(const std::vector<c10::IValue>& arguments) {
  std::map<std::int64_t, DimensionGroup> leading;
  std::map<std::int64_t, DimensionGroup> others;
  std::size_t count = 0;
  for (const c10::IValue& argument : arguments) {
    map_tensors(argument, [&](const at::Tensor& tensor) {
      for (std::int64_t dim = 0; tensor.defined() && dim < tensor.dim(); ++dim) {
        const std::int64_t size = tensor.size(dim);
        if (size == 0 || (dim > 0 && size == 1)) continue;  // a 1 inside is there to be broadcast
        DimensionGroup& group = (dim == 0 ? leading : others)[size];
        group.size = size;
        group.dimensions.push_back({count, dim});
      }
      ++count;
      return tensor;
    });
  }

  std::vector<DimensionGroup> groups;
  for (const auto* part : {&leading, &others}) {
    const auto begin = static_cast<std::ptrdiff_t>(groups.size());
    for (const auto& entry : *part) groups.push_back(entry.second);
    std::stable_sort(groups.begin() + begin, groups.end(), [](const DimensionGroup& a, const DimensionGroup& b) {
      return a.dimensions.size() > b.dimensions.size();
    });
  }
  for (const auto& [size, group] : leading) {
    const auto same_size = others.find(size);
    if (same_size == others.end()) continue;
    DimensionGroup both = group;
    both.dimensions.insert(both.dimensions.end(), same_size->second.dimensions.begin(),
                           same_size->second.dimensions.end());
    groups.push_back(std::move(both));
  }
  return groups;
}

std::int64_t odd_size(std::int64_t size) {
  if (size <= 2) return 3;
  if (size == 3) return 5;
  const std::int64_t smaller = (size * 3 / 4) | 1;
  return smaller < size ? smaller : size - 2;
}

std::vector<c10::IValue> resized(const std::vector<c10::IValue>& arguments, const DimensionGroup& group,
                                 std::int64_t size) {
  std::vector<c10::IValue> result;
  result.reserve(arguments.size());
  std::size_t count = 0;
  for (const c10::IValue& argument : arguments) {
    result.push_back(map_tensors(argument, [&](at::Tensor tensor) {
      for (const Dimension& dimension : group.dimensions) {
        if (dimension.tensor == count) tensor = resized_tensor(tensor, dimension.dim, size);
      }
      ++count;
      return tensor;
    }));
  }
  return result;
}

}  // namespace flashconvert::verify
