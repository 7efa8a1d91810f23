// The bytes of an archive, wherever they are: an open file, or memory (standard input). Read by position only, so that
// several threads may read at once, and never mapped: a file that shrinks meanwhile is an error, not a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "common/error.h"

struct stat;

namespace flashconvert::checkpoint {

class Bytes {
public:
  // Throws Error(kInput): not found, a folder, no permission, empty.
  static std::shared_ptr<const Bytes> open(const std::filesystem::path& path);
  static std::shared_ptr<const Bytes> in_memory(std::shared_ptr<const std::string> content);
  // A file of ours, which `name` names in messages; what cannot be read is then an Error(kOutput). Does not own
  // `descriptor`.
  static std::shared_ptr<const Bytes> of_descriptor(int descriptor, std::uint64_t size, const std::string& name);
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  std::uint64_t size() const { return size_; }
  // Fills `buffer` from `position` on; returns less than `count` only at the end. Throws Error(kInput) when the disk
  // gives an error.
  std::size_t read(std::uint64_t position, void* buffer, std::size_t count) const;
  std::string read(std::uint64_t position, std::size_t count) const;

  // Throws Error(kInput) when the file was written, or cut, since it was opened: then nobody can say what was read.
  void require_unchanged() const;
  // Whether `other` was, when it was opened, the same file with the same content.
  bool is_as(const Bytes& other) const;

private:
  // Which file it is, and when it was last written.
  struct State {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;
  };
  static State state_of(const struct stat& status);
  static bool is_same(const State& one, const State& other);

  Bytes() = default;
  std::shared_ptr<const std::string> content_;
  int descriptor_ = -1;
  bool owns_descriptor_ = false;
  std::uint64_t size_ = 0;
  std::string name_;
  ErrorKind kind_ = ErrorKind::kInput;
  State state_;
};

}  // namespace flashconvert::checkpoint
