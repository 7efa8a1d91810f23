// SHA-256 and CRC-32 against published values, and each fast path against the plain one.
#include "checkpoint/digest.h"

#include <random>
#include <vector>

#include "support/catch.h"

namespace flashconvert::checkpoint {
namespace {

std::string sha256_of(const std::string& text) {
  Sha256 hash;
  hash.update(text.data(), text.size());
  return hash.hex();
}

std::vector<std::uint8_t> random_bytes(std::size_t size) {
  std::mt19937 generator(7);
  std::vector<std::uint8_t> bytes(size);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  return bytes;
}

// The hash by the portable compression function alone, padded by hand.
std::string portable_sha256_of(std::vector<std::uint8_t> message) {
  const std::uint64_t bits = message.size() * 8;
  message.push_back(0x80);
  while (message.size() % 64 != 56) message.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) message.push_back(static_cast<std::uint8_t>(bits >> shift));
  std::uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  sha256_compress_portable(state, message.data(), message.size() / 64);
  std::string text;
  for (const std::uint32_t word : state) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(word));
    text += digits;
  }
  return text;
}

TEST_CASE("SHA-256 gives the published values") {  // FIPS 180-4, and the examples of NIST's CAVP
  CHECK(sha256_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_of(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on the CPU's instructions or on the pieces that the message comes in") {
  const std::vector<std::uint8_t> bytes = random_bytes(5000);
  for (std::size_t size : {0, 1, 55, 56, 63, 64, 65, 119, 120, 127, 128, 4999}) {
    const std::string expected = portable_sha256_of({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
    for (std::size_t piece : {1, 7, 64, 100, 5000}) {
      Sha256 hash;
      for (std::size_t at = 0; at < size; at += piece) hash.update(bytes.data() + at, std::min(piece, size - at));
      CHECK(hash.hex() == expected);
    }
  }
}

TEST_CASE("CRC-32 gives the published value, and the same through both paths and in pieces") {
  CHECK(crc32(0, "123456789", 9) == 0xCBF43926);
  const std::vector<std::uint8_t> bytes = random_bytes(3000);
  for (std::size_t size : {0, 1, 15, 16, 17, 63, 64, 65, 79, 80, 128, 129, 2999}) {
    const std::uint32_t expected = crc32_portable(0, bytes.data() + 1, size);
    CHECK(crc32(0, bytes.data() + 1, size) == expected);
    CHECK(crc32(crc32(0, bytes.data() + 1, size / 2), bytes.data() + 1 + size / 2, size - size / 2) == expected);
  }
}

}  // namespace
}  // namespace flashconvert::checkpoint
