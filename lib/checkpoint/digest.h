// SHA-256 and CRC-32 of long byte streams, as fast as the CPU allows. For reports and damage checks, not for secrets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace flashconvert::checkpoint {

class Sha256 {
public:
  Sha256();
  void update(const void* data, std::size_t size);
  std::string hex();  // lower case; ends the stream

private:
  void compress(const std::uint8_t* blocks, std::size_t count);

  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> pending_{};
  std::size_t pending_size_ = 0;
  std::uint64_t total_ = 0;
};

// The CRC-32 of zip archives. Start from 0; chain by passing the last result.
std::uint32_t crc32(std::uint32_t crc, const void* data, std::size_t size);

// The paths for CPUs without the instructions that the two above use where they can. Exposed for tests.
void sha256_compress_portable(std::uint32_t state[8], const std::uint8_t* blocks, std::size_t count);
std::uint32_t crc32_portable(std::uint32_t crc, const void* data, std::size_t size);

}  // namespace flashconvert::checkpoint
