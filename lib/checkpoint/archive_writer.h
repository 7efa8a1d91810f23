// Writing a checkpoint's archive into an open file, in one forward pass and without a copy of the tensors.
#pragma once

#include <cstdint>
#include <future>
#include <string>

#include "checkpoint/bytes.h"
#include "checkpoint/checkpoint.h"

namespace flashconvert::checkpoint {

struct WrittenArchive {
  std::uint64_t bytes = 0;
  std::future<std::string> sha256;  // a thread may still be reading the file
};

// The same checkpoint gives the same bytes, whatever the file is called. Throws Error(kOutput), naming `shown_name`.
WrittenArchive write_archive(const Checkpoint& checkpoint, int descriptor, const std::string& shown_name);

// The bytes as they are, through the same hash, which is of what the file holds.
WrittenArchive copy_archive(const Bytes& bytes, int descriptor, const std::string& shown_name);

// Writes all of it, or throws Error(kOutput).
void write_fully(int descriptor, const void* data, std::size_t size, const std::string& shown_name);

}  // namespace flashconvert::checkpoint
