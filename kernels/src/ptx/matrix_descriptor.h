// How a tile lies in shared memory when the tensor copy engine wrote it swizzled, and the 64-bit descriptor that tells
// wgmma so. Host code too: tests/kernels compares it with a model of the swizzle.
//
// PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions": "Shared Memory Matrix Layout", "Strides" and "Matrix
// Descriptor Format"; the swizzle modes are those of "Tensor Swizzling Modes".
//
// A tile of 16-bit elements is stored as panels of `width` bytes (32, 64 or 128) by all its rows. Within a panel rows
// follow each other without padding, and the 16-byte pieces of a row are permuted by an exclusive or with bits of the
// row, so that eight rows at one column fall into eight different bank groups.
#pragma once

#include <cstdint>

namespace flashconvert::kernels::ptx {

enum class Swizzle : int { k32 = 32, k64 = 64, k128 = 128 };

constexpr int panel_bytes(Swizzle swizzle) { return static_cast<int>(swizzle); }
constexpr int panel_columns(Swizzle swizzle) { return panel_bytes(swizzle) / 2; }

// Bytes between groups of eight rows: the unit in which the swizzle repeats. A panel starts at a multiple of it.
constexpr int eight_rows_bytes(Swizzle swizzle) { return 8 * panel_bytes(swizzle); }

// Where byte `byte` of row `row` lies in its panel. Bits 4.. of the address are exclusive-ored with bits 7.., as many
// as a row has 16-byte pieces to permute.
constexpr int swizzled_offset(Swizzle swizzle, int row, int byte) {
  const int address = row * panel_bytes(swizzle) + byte;
  const int mask = panel_bytes(swizzle) / 16 - 1;
  return address ^ (((address >> 7) & mask) << 4);
}

// The descriptor's fields, each in units of 16 bytes.
struct DescriptorFields {
  int leading_bytes;  // K-major: unused under a swizzle. MN-major: from one panel to the next
  int stride_bytes;   // from a group of eight rows to the next
  Swizzle swizzle;
};

// The part of a descriptor that does not depend on the address.
constexpr std::uint64_t descriptor_layout(const DescriptorFields& fields) {
  const std::uint64_t mode = fields.swizzle == Swizzle::k128 ? 1 : fields.swizzle == Swizzle::k64 ? 2 : 3;
  return (static_cast<std::uint64_t>((fields.leading_bytes >> 4) & 0x3fff) << 16) |
         (static_cast<std::uint64_t>((fields.stride_bytes >> 4) & 0x3fff) << 32) | (mode << 62);
}

// The address part: bits 0 to 13, in units of 16 bytes. Shared memory ends below 2^18.
constexpr std::uint64_t descriptor_address(std::uint32_t shared_address) { return (shared_address & 0x3ffffU) >> 4; }

// The lower half of a tile's descriptor: all of it that depends on the address. And the whole, from that half.
constexpr std::uint32_t descriptor_low(std::uint64_t layout, std::uint32_t shared_address) {
  return static_cast<std::uint32_t>(layout | descriptor_address(shared_address));
}
constexpr std::uint64_t descriptor_from(std::uint64_t layout, std::uint32_t low) { return (layout >> 32 << 32) | low; }

// A tile of `rows` rows read along its rows (Q and K: the inner dimension of the product is contiguous). Sixteen
// columns on are 32 bytes on, within a panel.
constexpr std::uint64_t k_major_layout(Swizzle swizzle) {
  return descriptor_layout({16, eight_rows_bytes(swizzle), swizzle});
}

// A tile read down its rows (V: the inner dimension of the product runs over rows). Sixteen rows on are two groups on.
constexpr std::uint64_t mn_major_layout(Swizzle swizzle, int rows) {
  return descriptor_layout({rows * panel_bytes(swizzle), eight_rows_bytes(swizzle), swizzle});
}

}  // namespace flashconvert::kernels::ptx
