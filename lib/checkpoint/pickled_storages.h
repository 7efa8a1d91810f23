// The storages that a pickle of LibTorch's refers to, without loading anything: LibTorch takes the device of each from
// there, and forgets it where tensors are loaded onto another one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace flashconvert::checkpoint {

// Key of the storage ("0") to its location ("cpu", "cuda:1"). Empty for what LibTorch's pickler does not write.
std::optional<std::map<std::string, std::string>> read_storage_locations(std::string_view pickle);

}  // namespace flashconvert::checkpoint
