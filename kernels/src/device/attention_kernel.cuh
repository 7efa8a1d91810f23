// The schedule of attention, after FlashAttention-2: a block takes one tile of queries of one head, keeps the output of
// its rows in registers, and walks over the keys from the end, a tile of keys and values at a time.
//
// The engine (mma16, tf32x3) brings the tile shape, the two matrix products and the layout of their fragments.
#pragma once

#include "../fp16x3/range_facts.h"
#include "../parameters.h"
#include "../ptx/dependent_launch.cuh"
#include "block_plan.cuh"
#include "combine_parts.cuh"
#include "score_modifiers.cuh"
#include "tile_copy.cuh"
#include "warp_place.cuh"

namespace flashconvert::kernels {

// Larger tiles than those for few queries, and those for float32, have no registers for a bias on its way.
template <class Engine>
inline constexpr bool kReadsBiasAhead = Engine::kRows <= kMostPackedQueries&& Engine::kGeneral &&
                                        sizeof(typename Engine::Element) == 2;

template <class Element>
__device__ __forceinline__ const Element* head_data(const TensorView& view, int batch, int head) {
  return static_cast<const Element*>(view.data) + batch * view.batch_stride + head * view.head_stride;
}

template <class Engine>
__device__ __forceinline__ BlockState make_block_state(const KernelParameters& p) {
  using Element = typename Engine::Element;
  const Work work = decode_block(p, static_cast<int>(blockIdx.x), Engine::kRows);
  return {work, visible_key_tiles<kRowsOf<Engine>>(p, work.first_row, Engine::kRows, Engine::kKeys),
          head_data<Element>(p.key, work.batch, work.key_head), head_data<Element>(p.value, work.batch, work.key_head),
          Engine::kGeneral ? bias_offset(p.bias, work.batch, work.head) : 0};
}

// Starts the copies of the block's tiles into shared memory.
template <class Engine>
struct Loader {
  using Element = typename Engine::Element;
  using Layout = typename Engine::Layout;
  using Plan = SharedMemoryPlan<Engine>;
  using QueryCopy = TileCopy<Element, Layout, Engine::kRows, Engine::kHeadDim, Engine::kThreads>;
  using KeyCopy = TileCopy<Element, Layout, Engine::kKeys, Engine::kHeadDim, Engine::kThreads>;

  const KernelParameters& p;
  const BlockState& state;
  char* shared;

  __device__ __forceinline__ bool packs_queries() const {
    return kRowsOf<Engine> == Rows::kPacked && p.packed_heads > 1;
  }
  __device__ __forceinline__ void queries() const {
    load<QueryCopy>(query_head() + state.work.first_row * p.query.row_stride, p.query.row_stride,
                    p.query_length - state.work.first_row, p.head_dim, Plan::kQuery);
  }
  __device__ __forceinline__ void packed_queries() const {
    const Work& work = state.work;
    const int rows = p.query_length - work.first_row;
    const auto row_offset = [at = query_rows(p), &work](int row) { return at(work.first_row + row); };
    if (!Engine::kGeneral || p.vector_loads) {
      QueryCopy::load_rows_async(ptx::shared_address(shared) + Plan::kQuery, query_head(), row_offset, rows,
                                 p.head_dim);
    } else {
      QueryCopy::load_elements(shared + Plan::kQuery, query_head(), row_offset, rows, p.head_dim);
    }
  }
  __device__ __forceinline__ void key(int tile, int stage) const {
    load<KeyCopy>(static_cast<const Element*>(state.keys) + tile * Engine::kKeys * p.key.row_stride, p.key.row_stride,
                  p.key_length - tile * Engine::kKeys, p.head_dim, Plan::kKey + stage * Plan::kStageBytes);
  }
  __device__ __forceinline__ void value(int tile, int stage) const {
    load<KeyCopy>(static_cast<const Element*>(state.values) + tile * Engine::kKeys * p.value.row_stride,
                  p.value.row_stride, p.key_length - tile * Engine::kKeys, p.value_dim,
                  Plan::kValue + stage * Plan::kStageBytes);
  }

  // What multiply_weights_value has to be told. The values have arrived as far as this thread copied them; afterwards
  // every thread's have, as after __syncthreads.
  __device__ __forceinline__ bool sync_values(int stage) const {
    if constexpr (Engine::kAsksForFiniteValues) {
      return __syncthreads_and(KeyCopy::own_elements_are_finite(shared + Plan::kValue + stage * Plan::kStageBytes));
    }
    __syncthreads();
    return true;
  }

private:
  __device__ __forceinline__ const Element* query_head() const {
    return head_data<Element>(p.query, state.work.batch, state.work.head);
  }
  template <class Copy>
  __device__ __forceinline__ void load(const Element* first, std::int64_t row_stride, int rows, int columns,
                                       int offset) const {
    if (!Engine::kGeneral || p.vector_loads) {
      Copy::load_async(ptx::shared_address(shared) + offset, {first, row_stride, rows, columns});
    } else {
      Copy::load_elements(
          shared + offset, first, [row_stride](int row) { return row * row_stride; }, rows, columns);
    }
  }
};

// Divides by the sums and writes the warp's rows through its own part of the query tile, so that global memory sees
// whole 16-byte pieces.
template <class Engine>
__device__ __forceinline__ void store_output(const KernelParameters& p, const Work& work,
                                             const typename Engine::Output& output,
                                             const typename Engine::Softmax& softmax, char* shared) {
  using Element = typename Engine::Element;
  constexpr int kWarpRows = 16 * Engine::kRowTiles;
  const int row_in_tile = warp_row<Engine>();
  float factor[Engine::kRowTiles][2];
#pragma unroll
  for (int m = 0; m < Engine::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) factor[m][half] = softmax.finish(m, half, p.empty_row);
  }
  __syncwarp();  // the warp's last reads of its queries are done
  Engine::stage_output(shared, row_in_tile, output, factor);
  __syncwarp();
  const int first_row = work.first_row + row_in_tile;
  Element* head = static_cast<Element*>(const_cast<void*>(p.output.data)) + work.batch * p.output.batch_stride +
                  work.head * p.output.head_stride;
  const auto store = [&](const auto& row_offset) {
    store_warp_tile<Element, typename Engine::Layout, kWarpRows, Engine::kHeadDim>(
        head, row_offset, p.query_length - first_row, p.value_dim, p.vector_stores, shared, row_in_tile);
  };
  if (kRowsOf<Engine> == Rows::kQueries || p.packed_heads == 1) {
    head += first_row * p.output.row_stride;
    store([stride = p.output.row_stride](int row) { return row * stride; });
  } else {
    store([rows = output_rows(p), first_row](int row) { return rows(first_row + row); });
  }
}

// The place in the ring `steps` (less than kStages) after `stage`.
template <int kStages>
__device__ __forceinline__ int stage_after(int stage, int steps) {
  if constexpr (kStages == 2) return stage ^ steps;
  return stage + steps < kStages ? stage + steps : stage + steps - kStages;
}

template <class Engine>
__global__ void __launch_bounds__(Engine::kThreads, Engine::kTile.blocks_per_sm)
    attention_kernel(const __grid_constant__ KernelParameters p) {
  using Plan = SharedMemoryPlan<Engine>;
  constexpr int kStages = Engine::kTile.stages;
  constexpr int kAhead = kStages == 1 ? 1 : kStages - 1;  // groups of copies that are under way at a time
  if constexpr (Engine::kYieldsToHalves) {
    if (p.unless_halves_hold != nullptr && halves_hold(*p.unless_halves_hold)) return;
  }
  extern __shared__ __align__(128) char shared[];
  const std::uint32_t shared_base = ptx::shared_address(shared);
  BlockState& state = *reinterpret_cast<BlockState*>(shared + Plan::kState);
  if (threadIdx.x == 0) state = make_block_state<Engine>(p);
  __syncthreads();
  const Loader<Engine> load = {p, state, shared};

  typename Engine::Output output = {};
  typename Engine::Softmax softmax;
  softmax.reset();

  // A warp whose rows do not exist only helps to load.
  const bool has_rows = !Engine::kSkipsEmptyWarps || state.work.first_row + warp_row<Engine>() < p.query_length;

  // Keys and values of the next tiles arrive while one is worked on (several stages, a ring), or its values during QK
  // and the next keys during the rest (one stage).
  const int step = Engine::kSplitsKeys ? p.splits : 1;
  int stage = 0;
  const auto load_tile = [&](int tile, int to_stage) {
    load.key(tile, to_stage);
    load.value(tile, to_stage);
  };
  const auto visit_tile = [&](int tile) {
    const bool more = tile - kAhead * step >= state.tiles.first;  // asked before the wait, which hides the answer's way
    const auto first_key = [&] { return tile * Engine::kKeys + warp_key<Engine>() + lane_index() % 4 * 2; };
    KeyBiasAhead<typename Engine::Element, Engine::kWarpKeys / 8> bias_ahead;
    const bool reads_ahead = kReadsBiasAhead<Engine> && bias_ahead.applies_to(p.bias);
    if (reads_ahead) bias_ahead.read(p, state.bias_offset, first_key());
    const std::uint32_t stage_base = shared_base + stage * Plan::kStageBytes;
    bool all_finite = true;
    ptx::wait_async_copies<kAhead - 1>();
    if constexpr (kStages == 1) {
      __syncthreads();
      load.value(tile, 0);
    } else {
      all_finite = load.sync_values(stage);
      if (more) load_tile(tile - kAhead * step, stage_after<kStages>(stage, kAhead));
      stage = stage_after<kStages>(stage, 1);
    }
    ptx::commit_async_copies();  // an empty group too: what is waited for is counted in groups

    typename Engine::Scores scores;
    if (has_rows) Engine::multiply_query_key(scores, shared_base + Plan::kQuery, stage_base + Plan::kKey);
    if constexpr (kStages == 1) {
      ptx::wait_async_copies<0>();
      all_finite = load.sync_values(0);
      if (more) load.key(tile - step, 0);
      ptx::commit_async_copies();
    }

    if (!has_rows) return;
    const ScorePosition at = {state.work.first_row + warp_row<Engine>() + lane_index() / 4, first_key()};
    if constexpr (Engine::kGeneral) {
      scale_and_cap<Engine::kAccurateCap>(scores, p);
      if (reads_ahead) {
        bias_ahead.add_to(scores, p.bias.kind);
      } else {
        add_bias<typename Engine::Element>(scores, p, state.bias_offset, at);
      }
    }
    const bool is_plain = !Engine::kGeneral && tile >= state.tiles.plain_first && tile < state.tiles.plain_end;
    if (!is_plain) hide_outside_window<kRowsOf<Engine>>(scores, p, at);
    float rescale[Engine::kRowTiles][2];
    softmax.update(scores, rescale, p.exponent_scale);
    Engine::multiply_weights_value(output, scores, rescale, stage_base + Plan::kValue, all_finite);
  };

  // Blocks that share tiles take them in turn, so that they read in the same pages of memory at a time.
  int tile = state.tiles.end - 1 - (Engine::kSplitsKeys ? static_cast<int>(blockIdx.y) : 0);
  if (tile >= state.tiles.first) {
    if (!load.packs_queries()) load.queries();
    load.key(tile, 0);
    if constexpr (kStages > 1) load.value(tile, 0);
    if (load.packs_queries()) load.packed_queries();  // last: where their rows begin takes a while to compute
    ptx::commit_async_copies();
#pragma unroll
    for (int ahead = 1; ahead < kAhead; ++ahead) {
      if (tile - ahead * step >= state.tiles.first) load_tile(tile - ahead * step, ahead);
      ptx::commit_async_copies();
    }
  }
  if (Engine::kSplitsKeys && p.splits > 1 && !p.splits_in_cluster) ptx::allow_dependent_launch();
#pragma unroll 1
  for (; tile >= state.tiles.first; tile -= step) visit_tile(tile);
  if (Engine::kKeyWarps == 1 && (!Engine::kSplitsKeys || p.splits == 1)) {
    store_output<Engine>(p, state.work, output, softmax, shared);
  } else if (Engine::kKeyWarps == 1 && !p.splits_in_cluster) {
    store_part_in_workspace<Engine>(p, state.work, output, softmax);
  } else {
    combine_parts<Engine>(p, state.work, output, softmax, shared);
  }
}

}  // namespace flashconvert::kernels
