// Every tile and register choice, in one table per kernel, with its reason. docs/kernels.md has the measurements.
#pragma once

#include <initializer_list>

namespace flashconvert::kernels {

// The least that the cards from sm_80 on give a block (sm_86, sm_89 and sm_120: 99 KB; sm_80: 163; sm_90: 227), so that
// one table serves them all.
inline constexpr int kSharedBytesPerBlock = 99 * 1024;
inline constexpr int kSharedBytesOnHopper = 227 * 1024;

// What a block keeps beside its tiles: see BlockState.
inline constexpr int kBlockStateBytes = 64;

inline constexpr int kRegistersPerSm = 65536;

// Bucket sizes: a head dimension is padded with zeros to the next of these.
inline constexpr int kHeadDims[] = {32, 64, 96, 128, 192, 256};
inline constexpr int kMostPackedQueries = 64;  // of heads that are packed (packed_heads.h), and rows of their tiles
inline constexpr int kMostFewRows = 16;        // of the tiles for few queries
inline constexpr int kLargestShortDim = 128;   // the buckets above have 64-row tiles anyway, or nearly

struct TileShape {
  int warps;
  int row_tiles;      // 16-row tiles of a warp: with 2, a fragment of K or V is read once for 32 queries
  int keys;           // of one key tile
  int stages;         // key and value tiles in shared memory; with 1, K and V are refilled in turn
  int blocks_per_sm;  // caps the registers at 65536 / (threads * blocks), rounded down to a multiple of 8
  int key_warps = 1;  // warps that share the same rows, each with its part of a tile's keys

  constexpr int rows() const { return warps / key_warps * row_tiles * 16; }
  constexpr int warp_keys() const { return keys / key_warps; }
  constexpr int threads() const { return warps * 32; }
  constexpr int registers() const {
    const int most = kRegistersPerSm / (threads() * blocks_per_sm) / 8 * 8;
    return most < 255 ? most : 255;
  }
};

// kPlain: scaled scores under a window, rows aligned to 16 bytes (is_plain in parameters.h). kGeneral: everything.
enum class Variant { kPlain, kGeneral };

// kShort: at most 64 queries, as in windowed attention; memory-bound, so that many small blocks are what counts.
// kFew: at most 16, as in decoding: one warp has rows, and where a score costs more than a product in 16 bits, it is
// not done before memory has brought the next keys. kLongOnHopper: with all the shared memory that those cards have.
enum class Lengths { kLong, kShort, kFew, kLongOnHopper };

// 16-bit operands. A lane holds row_tiles * head_dim / 2 registers of output, row_tiles * keys / 2 of scores and some
// 50 others.
constexpr TileShape mma16_tile(int head_dim, Variant variant, Lengths lengths) {
  if (lengths == Lengths::kFew) return {4, 1, 64, head_dim > 96 ? 2 : 3, 2, 4};  // general alone
  if (lengths == Lengths::kShort) return {4, 1, 64, 2, head_dim > 64 ? 2 : variant == Variant::kPlain ? 4 : 3};
  // The elements of the bias on their way take registers of their own: half the scores, and a second stage instead.
  if (variant == Variant::kGeneral) {
    switch (head_dim) {
      case 192:
        return {8, 1, 32, 1, 1};
      case 256:
        return {4, 1, 32, 1, 2};
      default:
        return {4, 2, 32, 2, 2};
    }
  }
  switch (head_dim) {
    case 32:
      return {4, 2, 64, 2, 3};
    case 64:
      return {4, 2, 64, 2, 2};
    case 96:
      return {4, 2, 64, 1, 2};  // 96 + 64 registers leave room for two blocks
    case 128:
      return {4, 2, 64, 1, 2};  // 128 + 64 registers: two blocks just fit
    case 192:
      return {4, 1, 64, 1, 2};  // 32 rows a warp would need 192 registers of output alone
    default:
      return {4, 1, 64, 1, 2};  // 256: 64 rows, since the query tile has to share 99 KB with K and V
  }
}

// Whether the keys of a tile of queries can be split among blocks (splits.h). D = 128 has no register left for it, and
// tiles for fewer queries.
constexpr bool mma16_splits_keys(int head_dim, Variant variant, Lengths lengths) {
  return head_dim != 128 || variant == Variant::kGeneral || lengths != Lengths::kLong;
}

// fp32 operands as three TF32 products. Besides output and scores a lane holds a partial sum of 16 * row_tiles and the
// two halves of a tile of weights (row_tiles * keys).
constexpr TileShape tf32x3_tile(int head_dim, Lengths lengths) {
  if (lengths == Lengths::kFew) return {4, 1, 64, head_dim > 64 ? 1 : 2, head_dim > 64 ? 2 : 3, 4};
  // With few queries one warp may be the only one with rows: what counts is how many blocks run at a time.
  if (lengths == Lengths::kShort) return {4, 1, head_dim > 64 ? 16 : 32, 2, head_dim > 32 ? 3 : 4};
  // Twice the rows and keys: a fragment of Q is read and split for 32 keys instead of 16.
  if (lengths == Lengths::kLongOnHopper) return {8, 1, 32, 1, 1};
  switch (head_dim) {
    case 32:
      return {4, 2, 32, 2, 2};
    case 64:
      return {4, 2, 32, 2, 2};
    case 96:
      return {4, 2, 32, 1, 2};
    case 128:
      return {4, 2, 16, 1, 2};  // 128 registers of output leave no room for the weights of 32 keys
    case 192:
      return {4, 1, 32, 1, 2};
    default:
      return {4, 1, 16, 1, 2};
  }
}

constexpr int mma16_shared_bytes(int head_dim, Variant variant, Lengths lengths) {
  const TileShape tile = mma16_tile(head_dim, variant, lengths);
  return (tile.rows() + 2 * tile.stages * tile.keys) * head_dim * 2 + kBlockStateBytes;
}

constexpr int tf32x3_shared_bytes(int head_dim, Lengths lengths) {
  const TileShape tile = tf32x3_tile(head_dim, lengths);
  return (tile.rows() + 2 * tile.stages * tile.keys) * (head_dim + 4) * 4 + kBlockStateBytes;
}

constexpr bool mma16_fits(int head_dim, Variant variant, Lengths lengths) {
  const TileShape tile = mma16_tile(head_dim, variant, lengths);
  return mma16_shared_bytes(head_dim, variant, lengths) <= kSharedBytesPerBlock &&
         tile.row_tiles * (head_dim + tile.warp_keys()) / 2 + 40 <= tile.registers();
}

constexpr bool tf32x3_fits(int head_dim, Lengths lengths) {
  const TileShape tile = tf32x3_tile(head_dim, lengths);
  return tf32x3_shared_bytes(head_dim, lengths) <= kSharedBytesPerBlock &&
         tile.row_tiles * (head_dim / 2 + 16 + tile.warp_keys()) + 40 <= tile.registers();
}

constexpr bool every_tile_fits() {
  for (const int head_dim : kHeadDims) {
    for (const Lengths lengths : {Lengths::kLong, Lengths::kShort, Lengths::kFew}) {
      if (lengths != Lengths::kLong && head_dim > kLargestShortDim) continue;
      if (!tf32x3_fits(head_dim, lengths)) return false;
      for (const Variant variant : {Variant::kPlain, Variant::kGeneral}) {
        if (lengths == Lengths::kFew && variant == Variant::kPlain) continue;  // there is none
        if (!mma16_fits(head_dim, variant, lengths)) return false;
      }
    }
  }
  return true;
}
static_assert(tf32x3_shared_bytes(256, Lengths::kLongOnHopper) <= kSharedBytesOnHopper);
static_assert(every_tile_fits(), "a tile needs more shared memory than every card has, or more registers than a lane");

}  // namespace flashconvert::kernels
