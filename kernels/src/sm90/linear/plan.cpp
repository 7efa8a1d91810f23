// See plan.h.
#include "plan.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "../../device_facts.h"
#include "../../linear/split_rows.h"
#include "../tensor_map.h"
#include "kernel_list.h"

namespace flashconvert::kernels::sm90::linear {

using Launch = cudaError_t (*)(const Parameters& parameters, int clusters, cudaStream_t stream);

struct TileEntry {
  const char* name;
  int rows;
  int columns;
  int cluster;
  int chunk_time;  // of a tile, in nanoseconds
  Launch launch;
};

namespace {

template <class Tile>
constexpr TileEntry entry(const char* name, int chunk_time) {
  return {name, Tile::kRows, Tile::kColumns, Tile::kCluster, chunk_time, launch_linear<Tile>};
}

// Times as measured on an H200.
constexpr std::array kTiles = {
    entry<Rows128Columns192>("sm90-f16x3-linear-128x192", 1080),
    entry<Rows128Columns128>("sm90-f16x3-linear-128x128", 845),
    entry<Rows128Columns96>("sm90-f16x3-linear-128x96", 770),
    entry<Rows64Columns64>("sm90-f16x3-linear-64x64", 305),
    entry<Rows64Columns32>("sm90-f16x3-linear-64x32", 263),
    entry<Rows64Columns16>("sm90-f16x3-linear-64x16", 249),
};

constexpr int kMultiprocessors = 132;  // of the cards that there are; the choice must not depend on the device at hand

constexpr std::int64_t divide_up(std::int64_t count, std::int64_t by) { return (count + by - 1) / by; }

// One side of the product.
struct Side {
  MatrixView values;
  std::int64_t rows;
};

Side left_side(const LinearProblem& problem, bool weight_is_left) {
  return weight_is_left ? Side{problem.weight, problem.out_features} : Side{problem.input, problem.rows};
}
Side right_side(const LinearProblem& problem, bool weight_is_left) { return left_side(problem, !weight_is_left); }

Operand left_operand(const Side& side, std::int64_t columns) {
  Operand operand;
  operand.view = {side.values.data, 0, 0, side.values.row_stride};
  operand.batch = operand.heads = 1;
  operand.length = side.rows;
  operand.columns = columns;
  operand.element = MapElement::kFloat32;
  return operand;
}

bool can_be_read_in_place(const Side& side, std::int64_t columns) {
  return (side.values.column_stride == 1 || columns == 1) && can_be_mapped(left_operand(side, columns));
}

// In nanoseconds.
double estimated_time(const LinearProblem& problem, const TileEntry& tile, bool weight_is_left) {
  const Side left = left_side(problem, weight_is_left);
  const Side right = right_side(problem, weight_is_left);
  const std::int64_t tiles =
      divide_up(left.rows, static_cast<std::int64_t>(tile.rows) * tile.cluster) * divide_up(right.rows, tile.columns);
  const std::int64_t rounds = divide_up(tiles, kMultiprocessors / tile.cluster);
  const auto chunks = static_cast<double>(divide_up(problem.in_features, kChunk));
  // The first chunk's way, and the stores, which are scattered where the weight is on the left.
  const double tile_overhead = weight_is_left ? 2500 : 1500;
  constexpr double kBytesPerTime = 2300;  // while operands are split or packed
  const auto split_bytes = [&](const Side& side) {
    return 8. * static_cast<double>(side.rows) * static_cast<double>(problem.in_features);
  };
  const double pack_time = can_be_read_in_place(left, problem.in_features) ? 0. : split_bytes(left) / kBytesPerTime;
  return static_cast<double>(rounds) * (chunks * tile.chunk_time + tile_overhead) + split_bytes(right) / kBytesPerTime +
         pack_time;
}

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

std::int64_t packed_stride(std::int64_t columns) { return divide_up(columns, 4) * 4; }

bool can_store_pairs(const Parameters& parameters) {
  return parameters.left_bias == nullptr && parameters.right_stride == 1 && parameters.left_stride % 2 == 0 &&
         reinterpret_cast<std::uintptr_t>(parameters.output) % sizeof(float2) == 0;
}

Parameters make_parameters(const LinearProblem& problem, const Plan& plan) {
  const TileEntry& tile = *plan.tile;
  Parameters parameters = {};
  const Side left = left_side(problem, plan.weight_is_left);
  const Side right = right_side(problem, plan.weight_is_left);
  parameters.left_values = left.values;
  parameters.right_values = right.values;
  parameters.output = problem.output;
  parameters.left_stride = plan.weight_is_left ? 1 : problem.output_row_stride;
  parameters.right_stride = plan.weight_is_left ? problem.output_row_stride : 1;
  (plan.weight_is_left ? parameters.left_bias : parameters.right_bias) = problem.bias;
  parameters.activation = problem.activation;
  parameters.stores_pairs = can_store_pairs(parameters);
  parameters.left_rows = static_cast<int>(left.rows);
  parameters.right_rows = static_cast<int>(right.rows);
  parameters.depth = static_cast<int>(problem.in_features);
  parameters.chunks = static_cast<int>(divide_up(problem.in_features, kChunk));
  // More additions in a row would show beside the products' own error: docs/kernels/fp32.md.
  constexpr int kChunksInRow = 96;
  parameters.parts = std::max(1, (parameters.chunks + kChunksInRow / 2) / kChunksInRow);
  parameters.part_chunks = static_cast<int>(divide_up(parameters.chunks, parameters.parts));
  parameters.parts = static_cast<int>(divide_up(parameters.chunks, parameters.part_chunks));
  parameters.left_units = static_cast<int>(divide_up(left.rows, static_cast<std::int64_t>(tile.rows) * tile.cluster));
  parameters.right_tiles = static_cast<int>(divide_up(right.rows, tile.columns));
  // A third of the second-level cache for the right operand.
  constexpr std::int64_t kBandBytes = std::int64_t{16} << 20;
  const std::int64_t tile_bytes = std::int64_t{4} * tile.columns * problem.in_features;
  parameters.band =
      static_cast<int>(std::clamp<std::int64_t>(kBandBytes / tile_bytes, 1, std::max(parameters.right_tiles, 1)));
  return parameters;
}

cudaError_t make_maps(const Plan& plan, const Side& left, std::int64_t right_rows, std::int64_t columns, void* halves,
                      Parameters& parameters) {
  const TileEntry& tile = *plan.tile;
  if (const cudaError_t error =
          make_tensor_map(left_operand(left, columns), ptx::Swizzle::k128, tile.rows, parameters.left);
      error != cudaSuccess) {
    return error;
  }
  Operand right;
  right.columns = kernels::linear::split_row_halves(columns);
  right.view = {halves, 0, 0, right.columns};
  right.batch = right.heads = 1;
  right.length = right_rows;
  return make_tensor_map(right, ptx::Swizzle::k128, tile.columns / tile.cluster, parameters.right);
}

}  // namespace

Plan make_plan(const LinearProblem& problem, const char* name) {
  Plan plan;
  double best = std::numeric_limits<double>::infinity();
  for (const TileEntry& tile : kTiles) {
    if (name != nullptr && std::string_view(name) != tile.name) continue;
    for (const bool weight_is_left : {false, true}) {
      const double time = estimated_time(problem, tile, weight_is_left);
      if (time >= best) continue;
      best = time;
      plan.tile = &tile;
      plan.weight_is_left = weight_is_left;
    }
  }
  if (plan.tile == nullptr) return plan;
  const Side left = left_side(problem, plan.weight_is_left);
  const auto right_rows = static_cast<std::size_t>(right_side(problem, plan.weight_is_left).rows);
  plan.packs_left = !can_be_read_in_place(left, problem.in_features);
  plan.halves = 0;
  plan.scales =
      aligned(right_rows * static_cast<std::size_t>(kernels::linear::split_row_halves(problem.in_features)) * 2);
  plan.packed = plan.scales + aligned((right_rows + 1) * sizeof(kernels::linear::RowScale));
  plan.workspace_bytes = plan.packed;
  if (plan.packs_left) {
    plan.workspace_bytes +=
        static_cast<std::size_t>(left.rows) * static_cast<std::size_t>(packed_stride(problem.in_features)) * 4;
  }
  return plan;
}

const char* kernel_name(const Plan& plan) { return plan.tile == nullptr ? nullptr : plan.tile->name; }

const char* tile_name(std::size_t index) { return index < kTiles.size() ? kTiles[index].name : nullptr; }

cudaError_t launch(const Plan& plan, const LinearProblem& problem, void* workspace, cudaStream_t stream) {
  const TileEntry& tile = *plan.tile;
  const std::int64_t columns = problem.in_features;
  char* const memory = static_cast<char*>(workspace);
  Side left = left_side(problem, plan.weight_is_left);
  const Side right = right_side(problem, plan.weight_is_left);
  Parameters parameters = make_parameters(problem, plan);

  if (plan.packs_left) {
    auto* const packed = reinterpret_cast<float*>(memory + plan.packed);
    const std::int64_t stride = packed_stride(columns);
    if (const cudaError_t error = kernels::linear::pack_rows(left.values, left.rows, columns, packed, stride, stream);
        error != cudaSuccess) {
      return error;
    }
    left.values = parameters.left_values = {packed, stride, 1};
  }
  auto* const scales = reinterpret_cast<kernels::linear::RowScale*>(memory + plan.scales);
  parameters.right_scales = scales;
  if (const cudaError_t error = make_maps(plan, left, right.rows, columns, memory + plan.halves, parameters);
      error != cudaSuccess) {
    return error;
  }
  if (const cudaError_t error =
          kernels::linear::split_rows(right.values, right.rows, columns, memory + plan.halves, scales, stream);
      error != cudaSuccess) {
    return error;
  }
  int multiprocessors = 0;
  if (const cudaError_t error = multiprocessor_count(multiprocessors); error != cudaSuccess) return error;
  const int clusters = std::min(multiprocessors / tile.cluster, parameters.left_units * parameters.right_tiles);
  return tile.launch(parameters, clusters, stream);
}

}  // namespace flashconvert::kernels::sm90::linear
