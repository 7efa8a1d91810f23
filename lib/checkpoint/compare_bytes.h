// The bytes of many storages, compared by several threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace flashconvert::checkpoint {

// Called for each piece of the second tensors' storages once it has been compared: for the pieces of one storage in
// order and from one thread, for other storages meanwhile from others.
using Compared = std::function<void(const void* data, std::size_t size)>;

// Two tensors on the CPU whose whole storages, of the same size, should hold the same.
struct StoragePair {
  std::string path;
  at::Tensor first, second;
};

// The path of the first pair that differs. Uses as many threads as LibTorch would.
std::optional<std::string> find_differing(const std::vector<StoragePair>& pairs, const Compared& compared);

}  // namespace flashconvert::checkpoint
