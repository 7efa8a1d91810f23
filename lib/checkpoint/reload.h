// The last check before a file gets its name: is what stands in it the checkpoint that was to be saved?
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/checkpoint.h"

namespace flashconvert::checkpoint {

// Reads the file back: all checksums, the module through LibTorch's compiler and unpickler, and every other record.
// The tensors are compared where they stand in the file, without a second copy of the model in memory. Throws
// Error(kOutput).
void require_reloads(const Checkpoint& checkpoint, std::uint64_t size, int descriptor, const std::string& shown_name);

}  // namespace flashconvert::checkpoint
