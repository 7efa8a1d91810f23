// Swizzled tiles and wgmma's descriptors against a model on the host: PTX ISA, "Tensor Swizzling Modes" and "Matrix
// Descriptor Format".
#include <set>
#include <vector>

#include "ptx/matrix_descriptor.h"
#include "sm90/tuning.h"
#include "support/catch.h"

namespace flashconvert::kernels::ptx {
namespace {

constexpr Swizzle kSwizzles[] = {Swizzle::k32, Swizzle::k64, Swizzle::k128};

// The modes as the tables of the PTX ISA draw them: which 16-byte piece of a row comes to lie at piece `piece`. The
// 128-byte mode permutes eight pieces by the row, the 64-byte mode four by every second row, the 32-byte mode two by
// every fourth.
int piece_at(Swizzle swizzle, int row, int piece) {
  switch (swizzle) {
    case Swizzle::k128:
      return piece ^ (row % 8);
    case Swizzle::k64:
      return piece ^ (row / 2 % 4);
    default:
      return piece ^ (row / 4 % 2);
  }
}

std::uint64_t bits(std::uint64_t value, int first, int count) {
  return (value >> first) & ((std::uint64_t{1} << count) - 1);
}

}  // namespace

TEST_CASE("the swizzle is the one that the copy engine writes", "[descriptor]") {
  for (const Swizzle swizzle : kSwizzles) {
    for (int row = 0; row < 64; ++row) {
      for (int byte = 0; byte < panel_bytes(swizzle); ++byte) {
        const int expected = row * panel_bytes(swizzle) + piece_at(swizzle, row, byte / 16) * 16 + byte % 16;
        REQUIRE(swizzled_offset(swizzle, row, byte) == expected);
      }
    }
  }
}

TEST_CASE("eight rows at one column meet in no bank", "[descriptor]") {
  for (const Swizzle swizzle : kSwizzles) {
    for (int first = 0; first < 64; first += 8) {
      for (int byte = 0; byte < panel_bytes(swizzle); byte += 16) {
        std::set<int> groups;
        for (int row = first; row < first + 8; ++row) groups.insert(swizzled_offset(swizzle, row, byte) / 16 % 8);
        CHECK(groups.size() == 8);
      }
    }
  }
}

TEST_CASE("descriptors hold addresses and strides in units of 16 bytes", "[descriptor]") {
  const std::uint64_t key = k_major_layout(Swizzle::k128) | descriptor_address(0x2c400);
  CHECK(bits(key, 0, 14) == 0x2c400 >> 4);
  CHECK(bits(key, 32, 14) == 8 * 128 / 16);
  CHECK(bits(key, 49, 3) == 0);  // tiles start at multiples of 1024 bytes: no base offset
  CHECK(bits(key, 62, 2) == 1);

  const std::uint64_t value = mn_major_layout(Swizzle::k64, 144);
  CHECK(bits(value, 16, 14) == 144 * 64 / 16);  // to the next 32 columns
  CHECK(bits(value, 32, 14) == 8 * 64 / 16);    // to the next eight keys
  CHECK(bits(value, 62, 2) == 2);
  CHECK(bits(mn_major_layout(Swizzle::k32, 64), 62, 2) == 3);
}

TEST_CASE("tiles are stored in the widest panels that divide them", "[descriptor]") {
  CHECK(sm90::D64::kHeadSwizzle == Swizzle::k128);
  CHECK(sm90::D96::kHeadSwizzle == Swizzle::k64);
  CHECK(sm90::D32::kHeadSwizzle == Swizzle::k64);
  CHECK(sm90::D192V128::kValueSwizzle == Swizzle::k128);
}

}  // namespace flashconvert::kernels::ptx
