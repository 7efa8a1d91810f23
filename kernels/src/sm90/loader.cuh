// The loading warpgroup: one thread keeps the copy engine busy, in the order in which the tiles are used. To it, the
// block's tiles of queries are one long row of steps, each with the keys of the next tile and the values of this one.
#pragma once

#include "../ptx/tensor_copy.cuh"
#include "parameters.h"
#include "scheduler.cuh"
#include "shared_memory.cuh"

namespace flashconvert::kernels::sm90 {

template <class Tile>
class Loader {
  using Plan = SharedMemoryPlan<Tile>;

public:
  __device__ __forceinline__ Loader(const Parameters& p, char* shared_memory)
      : p_(p), shared_(ptx::shared_address(shared_memory)), queue_(p.common, p.tile_counter), mailbox_(shared_memory) {}

  __device__ __forceinline__ void run() {
    bool preloaded = false;  // the queries and first keys of `current` are sent for already
    const Assignment* current = &take_assignment();
    while (!current->is_last()) {
      if (current->is_empty()) {
        queue_.draw();
        current = &take_assignment();
        preloaded = false;
        continue;
      }
      if (!preloaded) {
        load_key(current->work, current->tiles.end - 1);
        load_query(current->work);
      }
      current = &load_tiles(*current);
      preloaded = true;
    }
  }

private:
  __device__ __forceinline__ const Assignment& take_assignment() {
    return mailbox_.send(make_assignment<Tile>(p_.common, queue_.take()));
  }

  // All of `current` but its queries and first keys, and those of the next assignment, which it returns. That one is
  // drawn as late as its data can still come in time. Only one: the mailbox has no room for a row of assignments
  // without work, and nobody would empty it while tiles of this one are missing.
  __device__ __forceinline__ const Assignment& load_tiles(const Assignment& current) {
    const KeyTiles tiles = current.tiles;
    const int draw_step = min(tiles.first + 2, tiles.end - 1);
    const Assignment* next = nullptr;
    const auto take_next = [&] {
      next = &take_assignment();
      if (Tile::kQueryStages > 1 && !next->is_empty()) load_query(next->work);
    };
#pragma unroll 1
    for (int tile = tiles.end - 1; tile > tiles.first; --tile) {
      if (tile == draw_step) queue_.draw();
      if (Tile::kOverlaps) load_key(current.work, tile - 1);
      load_value(current.work, tile);
      if (!Tile::kOverlaps) load_key(current.work, tile - 1);
      if (tile == draw_step) take_next();
    }
    if (draw_step == tiles.first) {
      queue_.draw();
      take_next();
    }
    if (Tile::kOverlaps && !next->is_empty()) load_key(next->work, next->tiles.end - 1);
    load_value(current.work, tiles.first);
    if (!Tile::kOverlaps && !next->is_empty()) load_key(next->work, next->tiles.end - 1);
    // With one place for queries the next ones have to wait for the last scores.
    if (Tile::kQueryStages == 1 && !next->is_empty()) load_query(next->work);
    return *next;
  }

  __device__ __forceinline__ void load_query(const Work& work) {
    const int stage = query_.stage();
    ptx::barrier_wait(shared_ + Plan::kQueryEmpty + 8 * stage, query_.parity() ^ 1);
    load<Tile::kHeadSwizzle, Tile::kHeadColumns, Tile::kRows>(p_.query, Plan::kQuery + stage * Tile::kQueryBytes,
                                                              Plan::kQueryFull + 8 * stage, work.first_row, work.head,
                                                              work.batch, ptx::CachePolicy::kEvictFirst);
    query_.advance();
  }
  __device__ __forceinline__ void load_key(const Work& work, int tile) {
    const int stage = key_.stage();
    ptx::barrier_wait(shared_ + Plan::kKeyEmpty + 8 * stage, key_.parity() ^ 1);
    load<Tile::kHeadSwizzle, Tile::kHeadColumns, Tile::kKeys>(p_.key, Plan::kKeys + stage * Tile::kKeyBytes,
                                                              Plan::kKeyFull + 8 * stage, tile * Tile::kKeys,
                                                              work.key_head, work.batch, ptx::CachePolicy::kEvictLast);
    if constexpr (Tile::kMode == ScoreMode::kBias) load_bias(work, tile, stage);
    key_.advance();
  }
  // The bias of the keys that were just sent for.
  __device__ __forceinline__ void load_bias(const Work& work, int tile, int stage) {
    ptx::barrier_wait(shared_ + Plan::kBiasEmpty + 8 * stage, key_.parity() ^ 1);
    const BiasView& bias = p_.common.bias;
    const bool is_boolean = bias.kind == BiasKind::kBoolean;
    const int panels = is_boolean ? 1 : 2;
    const int panel_bytes = Tile::kRows * ptx::panel_bytes(Tile::kBiasSwizzle);
    const std::uint32_t full = shared_ + Plan::kBiasFull + 8 * stage;
    ptx::barrier_arrive_expect(full, panels * panel_bytes);
#pragma unroll 1
    for (int panel = 0; panel < panels; ++panel) {
      ptx::copy_box(shared_ + Plan::kBias + stage * Tile::kBiasBytes + panel * panel_bytes, p_.bias, full,
                    tile * Tile::kKeys + panel * 64, work.first_row, bias.head_stride == 0 ? 0 : work.head,
                    bias.outer_batch_stride == 0 ? 0 : work.batch, ptx::CachePolicy::kNormal);
    }
  }
  __device__ __forceinline__ void load_value(const Work& work, int tile) {
    const int stage = value_.stage();
    ptx::barrier_wait(shared_ + Plan::kValueEmpty + 8 * stage, value_.parity() ^ 1);
    load<Tile::kValueSwizzle, Tile::kValueColumns, Tile::kKeys>(
        p_.value, Plan::kValues + stage * Tile::kValueBytes, Plan::kValueFull + 8 * stage, tile * Tile::kKeys,
        work.key_head, work.batch, ptx::CachePolicy::kEvictLast);
    value_.advance();
  }

  template <ptx::Swizzle kSwizzle, int kColumns, int kRows>
  __device__ __forceinline__ void load(const CUtensorMap& map, int offset, int barrier, int row, int head, int batch,
                                       ptx::CachePolicy policy) {
    ptx::barrier_arrive_expect(shared_ + barrier, kRows * kColumns * 2);
#pragma unroll
    for (int column = 0; column < kColumns; column += ptx::panel_columns(kSwizzle)) {
      ptx::copy_box(shared_ + offset + column * 2 * kRows, map, shared_ + barrier, column, row, head, batch, policy);
    }
  }

  const Parameters& p_;
  std::uint32_t shared_;
  TileQueue queue_;
  Mailbox<Tile> mailbox_;
  RingPosition<Tile::kQueryStages> query_;
  RingPosition<Tile::kStages> key_;
  RingPosition<Tile::kStages> value_;
};

}  // namespace flashconvert::kernels::sm90
