// The schedule of attention, after FlashAttention-2: a block takes one tile of queries of one head, keeps the output of
// its rows in registers, and walks over the keys from the end, a tile of keys and values at a time.
//
// The engine (mma16, tf32x3) brings the tile shape, the two matrix products and the layout of their fragments.
#pragma once

#include "../parameters.h"
#include "../ptx/dependent_launch.cuh"
#include "../tuning.h"
#include "schedule.cuh"
#include "score_modifiers.cuh"
#include "tile_copy.cuh"

namespace flashconvert::kernels {

// What is the same for the whole block. It lives in shared memory: in registers, where the accumulators leave a few
// dozen at most, it would be spilled.
struct BlockState {
  Work work;
  KeyTiles tiles;
  const void* keys;  // of the block's head
  const void* values;
  std::int64_t bias_offset;
};

// Larger tiles than those for few queries do not know packed heads, which would cost them registers.
template <class Engine>
inline constexpr Rows kRowsOf = Engine::kRows <= kMostPackedQueries ? Rows::kPacked : Rows::kQueries;

// Nor do they, or those for float32, have registers for a bias on its way.
template <class Engine>
inline constexpr bool kReadsBiasAhead = Engine::kRows <= kMostPackedQueries&& Engine::kGeneral &&
                                        sizeof(typename Engine::Element) == 2;

// What lies where in a block's shared memory: the queries (their place takes the output in the end), then a tile of
// keys and one of values for each stage, then the state.
template <class Engine>
struct SharedMemoryPlan {
  static constexpr int kRowBytes = Engine::Layout::kRowBytes;
  static constexpr int kKeyTileBytes = Engine::kKeys * kRowBytes;
  static constexpr int kQuery = 0;
  static constexpr int kKey = Engine::kRows * kRowBytes;
  static constexpr int kValue = kKey + kKeyTileBytes;
  static constexpr int kStageBytes = 2 * kKeyTileBytes;
  static constexpr int kState = kKey + Engine::kTile.stages * kStageBytes;
  static constexpr int kBytes = kState + kBlockStateBytes;
  static_assert(kBytes == Engine::kSharedBytes, "the tuning table checked another plan");
  static_assert(sizeof(BlockState) <= kBlockStateBytes, "the tuning table reserves too little");
};

template <class Element>
__device__ __forceinline__ const Element* head_data(const TensorView& view, int batch, int head) {
  return static_cast<const Element*>(view.data) + batch * view.batch_stride + head * view.head_stride;
}

template <class Engine>
__device__ __forceinline__ BlockState make_block_state(const KernelParameters& p) {
  using Element = typename Engine::Element;
  const Work work = decode_block(p, static_cast<int>(blockIdx.x), Engine::kRows);
  KeyTiles tiles = visible_key_tiles<kRowsOf<Engine>>(p, work.first_row, Engine::kRows, Engine::kKeys);
  if (Engine::kSplitsKeys && p.splits > 1) tiles = split_key_tiles(tiles, static_cast<int>(blockIdx.y), p.splits);
  return {work, tiles, head_data<Element>(p.key, work.batch, work.key_head),
          head_data<Element>(p.value, work.batch, work.key_head),
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

  __device__ __forceinline__ void query() const {
    const Work& work = state.work;
    const Element* head = head_data<Element>(p.query, work.batch, work.head);
    const int rows = p.query_length - work.first_row;
    if (kRowsOf<Engine> == Rows::kQueries || p.packed_heads == 1) {
      load<QueryCopy>(head + work.first_row * p.query.row_stride, p.query.row_stride, rows, p.head_dim, Plan::kQuery);
      return;
    }
    const auto row_offset = [at = query_rows(p), &work](int row) { return at(work.first_row + row); };
    if (!Engine::kGeneral || p.vector_loads) {
      QueryCopy::load_rows_async(ptx::shared_address(shared) + Plan::kQuery, head, row_offset, rows, p.head_dim);
    } else {
      QueryCopy::load_elements(shared + Plan::kQuery, head, row_offset, rows, p.head_dim);
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

private:
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
  const int warp_row = warp_index() * kWarpRows;
  float factor[Engine::kRowTiles][2];
#pragma unroll
  for (int m = 0; m < Engine::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) factor[m][half] = softmax.finish(m, half, p.empty_row);
  }
  __syncwarp();  // the warp's last reads of its queries are done
  Engine::stage_output(shared, warp_row, output, factor);
  __syncwarp();
  const int first_row = work.first_row + warp_row;
  Element* head = static_cast<Element*>(const_cast<void*>(p.output.data)) + work.batch * p.output.batch_stride +
                  work.head * p.output.head_stride;
  const auto store = [&](const auto& row_offset) {
    store_warp_tile<Element, typename Engine::Layout, kWarpRows, Engine::kHeadDim>(
        head, row_offset, p.query_length - first_row, p.value_dim, p.vector_stores, shared, warp_row);
  };
  if (kRowsOf<Engine> == Rows::kQueries || p.packed_heads == 1) {
    head += first_row * p.output.row_stride;
    store([stride = p.output.row_stride](int row) { return row * stride; });
  } else {
    store([rows = output_rows(p), first_row](int row) { return rows(first_row + row); });
  }
}

// Leaves the warp's rows unfinished, with their maxima and sums, for combine_splits.
template <class Engine>
__device__ __forceinline__ void store_partial(const KernelParameters& p, const Work& work,
                                              const typename Engine::Output& output,
                                              const typename Engine::Softmax& softmax) {
  const int lane = lane_index();
  const int first_row = work.first_row + warp_index() * 16 * Engine::kRowTiles + lane / 4;
  const std::int64_t head = static_cast<std::int64_t>(blockIdx.y) * p.total_heads + work.batch * p.heads + work.head;
#pragma unroll
  for (int m = 0; m < Engine::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = softmax.total_sum(m, half);
      const int row = first_row + 16 * m + 8 * half;
      if (row >= p.query_length) continue;
      const std::int64_t place = head * p.query_length + row;
      if (lane % 4 == 0) {
        reinterpret_cast<float2*>(p.partial_sums)[place] = make_float2(softmax.maximum[m][half], sum);
      }
      Engine::store_partial_row(p.partial_outputs + place * p.partial_columns, p.partial_columns, output, m, half);
    }
  }
}

template <class Engine>
__global__ void __launch_bounds__(Engine::kThreads, Engine::kTile.blocks_per_sm)
    attention_kernel(const __grid_constant__ KernelParameters p) {
  using Plan = SharedMemoryPlan<Engine>;
  constexpr int kStages = Engine::kTile.stages;
  static_assert(kStages == 1 || kStages == 2, "the loop below knows these two");
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
  const int warp_row = state.work.first_row + warp_index() * 16 * Engine::kRowTiles;
  const bool has_rows = !Engine::kSkipsEmptyWarps || warp_row < p.query_length;

  // Keys and values of one tile arrive while the tile before it is worked on (two stages), or the values during QK and
  // the next keys during the rest (one stage).
  int stage = 0;
  const auto visit_tile = [&](int tile) {
    const bool more = tile > state.tiles.first;
    KeyBiasAhead<typename Engine::Element, Engine::kKeys / 8> bias_ahead;
    const bool reads_ahead = kReadsBiasAhead<Engine> && bias_ahead.applies_to(p.bias);
    if (reads_ahead) bias_ahead.read(p, state.bias_offset, tile * Engine::kKeys + lane_index() % 4 * 2);
    ptx::wait_async_copies<0>();
    __syncthreads();
    if constexpr (kStages == 1) {
      load.value(tile, 0);
    } else if (more) {
      load.key(tile - 1, stage ^ 1);
      load.value(tile - 1, stage ^ 1);
    }
    ptx::commit_async_copies();

    const std::uint32_t stage_base = shared_base + stage * Plan::kStageBytes;
    if constexpr (kStages == 2) stage ^= 1;
    typename Engine::Scores scores;
    if (has_rows) Engine::multiply_query_key(scores, shared_base + Plan::kQuery, stage_base + Plan::kKey);
    if constexpr (kStages == 1) {
      ptx::wait_async_copies<0>();
      __syncthreads();
      if (more) load.key(tile - 1, 0);
      ptx::commit_async_copies();
    }

    if (!has_rows) return;
    const int lane = lane_index();
    const ScorePosition at = {state.work.first_row + warp_index() * 16 * Engine::kRowTiles + lane / 4,
                              tile * Engine::kKeys + lane % 4 * 2};
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
    Engine::multiply_weights_value(output, scores, rescale, stage_base + Plan::kValue);
  };

  int tile = state.tiles.end - 1;
  if (tile >= state.tiles.first) {
    load.query();
    load.key(tile, 0);
    if constexpr (kStages == 2) load.value(tile, 0);
    ptx::commit_async_copies();
  }
  if (Engine::kSplitsKeys && p.splits > 1) ptx::allow_dependent_launch();
#pragma unroll 1
  for (; tile >= state.tiles.first; --tile) visit_tile(tile);
  if (!Engine::kSplitsKeys || p.splits == 1) {
    store_output<Engine>(p, state.work, output, softmax, shared);
  } else {
    store_partial<Engine>(p, state.work, output, softmax);
  }
}

}  // namespace flashconvert::kernels
