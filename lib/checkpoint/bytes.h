// The bytes of an archive, wherever they are: an open file, or memory (standard input). Read by position only, so that
// several threads may read at once, and never mapped: a file that shrinks meanwhile is an error, not a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace flashconvert::checkpoint {

class Bytes {
public:
  // Throws Error(kInput): not found, a folder, no permission, empty.
  static std::shared_ptr<const Bytes> open(const std::filesystem::path& path);
  static std::shared_ptr<const Bytes> in_memory(std::shared_ptr<const std::string> content);
  // Does not own `descriptor`.
  static std::shared_ptr<const Bytes> of_descriptor(int descriptor, std::uint64_t size);
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::uint64_t size() const { return size_; }
  // Fills `buffer` from `position` on; returns less than `count` only at the end. Throws Error(kInput) when the disk
  // gives an error.
  std::size_t read(std::uint64_t position, void* buffer, std::size_t count) const;
  std::string read(std::uint64_t position, std::size_t count) const;

private:
  Bytes() = default;
  std::shared_ptr<const std::string> content_;
  int descriptor_ = -1;
  bool owns_descriptor_ = false;
  std::uint64_t size_ = 0;
  std::string name_;
};

}  // namespace flashconvert::checkpoint
