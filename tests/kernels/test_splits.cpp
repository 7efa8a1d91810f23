// How heads are packed and keys are split, which needs no device.
#include <cstddef>
#include <vector>

#include "packed_heads.h"
#include "splits.h"
#include "support/catch.h"

namespace flashconvert::kernels {
namespace {

constexpr TileShape kTile = mma16_tile(128, Variant::kPlain, Lengths::kShort);
constexpr int kH100 = 132 * 2;  // blocks of this tile at a time

// Queries of `heads` heads in [batch, length, heads, dim], `keys` keys of `key_heads` heads.
AttentionProblem decode(std::int64_t heads, std::int64_t key_heads, std::int64_t queries, std::int64_t keys) {
  AttentionProblem problem;
  problem.batch = 1;
  problem.heads = heads;
  problem.key_heads = key_heads;
  problem.query_length = queries;
  problem.key_length = keys;
  problem.head_dim = problem.value_dim = 128;
  problem.query = {nullptr, queries * heads * 128, 128, heads * 128};
  problem.key = problem.value = {nullptr, keys * key_heads * 128, 128, key_heads * 128};
  problem.output_batch_stride = queries * heads * 128;
  problem.output_head_stride = 128;
  problem.output_row_stride = heads * 128;
  return problem;
}

AttentionProblem causal(AttentionProblem problem) {
  problem.window_right = 0;
  problem.diagonal = problem.key_length - problem.query_length;
  return problem;
}

bool is_packed(const AttentionProblem& problem) {
  return make_packed_parameters(problem, kTile.rows()).packed_heads > 1;
}

int splits_of(const AttentionProblem& problem, int resident_blocks = kH100) {
  return split_count(make_packed_parameters(problem, kTile.rows()), kTile, resident_blocks);
}

}  // namespace

TEST_CASE("a group's heads become the rows of one", "[packed]") {
  const KernelParameters p = make_packed_parameters(causal(decode(32, 8, 3, 100)), 64);
  CHECK(p.heads == 8);
  CHECK(p.total_heads == 8);
  CHECK(p.heads_per_key_head == 1);
  CHECK(p.query_length == 12);
  CHECK(p.query_tiles == 1);
  CHECK(p.packed_heads == 4);
  CHECK(p.last_visible == 97);  // in queries, as before
  CHECK(p.query.head_stride == 512);
  CHECK(p.query.row_stride == 4096);
  CHECK(p.packed_query_stride == 128);
  CHECK(p.output.head_stride == 512);
  CHECK(p.packed_output_stride == 128);
}

TEST_CASE("heads are packed where that makes fewer tiles", "[packed]") {
  CHECK(is_packed(decode(32, 8, 1, 100)));
  CHECK(is_packed(decode(32, 8, 16, 100)));
  CHECK(is_packed(decode(32, 8, 40, 100)));        // 160 rows: three tiles instead of four
  CHECK_FALSE(is_packed(decode(32, 8, 49, 100)));  // 196 rows: four tiles either way
  CHECK_FALSE(is_packed(decode(32, 8, 64, 100)));
  CHECK_FALSE(is_packed(decode(32, 8, 65, 100)));
  CHECK_FALSE(is_packed(decode(8, 8, 1, 100)));
  CHECK(make_packed_parameters(decode(32, 8, 1, 100), 128).packed_heads == 1);  // a tile for many queries
}

TEST_CASE("windows find the query of each packed row", "[packed]") {
  for (std::int64_t group = 2; group <= 300; ++group) {
    for (const std::int64_t queries : {1, 2, 3, 33, 50, 63}) {
      const KernelParameters p = make_packed_parameters(causal(decode(group, 1, queries, 500)), 64);
      if (p.packed_heads == 1) continue;
      INFO(queries << " queries, " << group << " heads a group");
      int wrong = 0;
      for (int row = 0; row < p.query_length; ++row) {
        if (row * p.row_multiplier >> p.row_shift != row / group) ++wrong;
      }
      CHECK(wrong == 0);
    }
  }
  CHECK(is_packed(decode(255, 1, 4, 100)));
  CHECK_FALSE(is_packed(decode(256, 1, 4, 100)));
  const KernelParameters unpacked = make_packed_parameters(decode(8, 8, 500, 100), 64);
  CHECK((unpacked.row_multiplier == 1 && unpacked.row_shift == 0));
}

TEST_CASE("a bias that packed rows do not share keeps heads apart", "[packed]") {
  AttentionProblem problem = decode(32, 8, 4, 100);
  problem.bias.kind = BiasKind::kBoolean;
  problem.bias.outer_batch_stride = 100;
  problem.bias.column_stride = 1;
  CHECK(is_packed(problem));  // key padding
  problem.bias.head_stride = 100;
  CHECK_FALSE(is_packed(problem));
  problem.bias.head_stride = 0;
  problem.bias.row_stride = 100;
  CHECK_FALSE(is_packed(problem));
}

TEST_CASE("one query's bias has a row for each head", "[packed]") {
  AttentionProblem problem = decode(32, 8, 1, 100);
  problem.bias.kind = BiasKind::kFloat32;
  problem.bias.head_stride = 100;
  problem.bias.row_stride = 77;  // means nothing
  problem.bias.column_stride = 1;
  const KernelParameters p = make_packed_parameters(problem, 64);
  CHECK(p.packed_heads == 4);
  CHECK(p.bias.row_stride == 100);
  CHECK(p.bias.head_stride == 400);
}

TEST_CASE("unused strides do not decide how packed rows are copied", "[packed]") {
  AttentionProblem problem = decode(32, 8, 1, 100);
  problem.query.row_stride = problem.output_row_stride = 3;
  KernelParameters p = make_packed_parameters(problem, 64);
  CHECK((p.vector_loads && p.vector_stores));
  problem.query.head_stride = 129;  // the heads of a group do not all start at multiples of 16 bytes
  p = make_packed_parameters(problem, 64);
  CHECK_FALSE(p.vector_loads);
}

TEST_CASE("splits fill the card once", "[splits]") {
  for (const std::int64_t heads : {1, 3, 16, 32, 100, 132}) {
    for (const std::int64_t keys : {1024, 8192, 65536}) {
      INFO("heads " << heads << ", keys " << keys);
      const int splits = splits_of(decode(heads, heads, 1, keys));
      CHECK(splits > 1);
      CHECK(splits * heads <= kH100);
      CHECK((keys / kTile.keys + splits - 1) / splits >= 2);
    }
  }
  CHECK(splits_of(decode(32, 32, 64, 8192)) == 8);
  CHECK(splits_of(decode(16, 16, 64, 16384)) == 16);
}

TEST_CASE("no splits where there are blocks enough, or too few keys", "[splits]") {
  CHECK(splits_of(decode(133, 133, 1, 8192)) == 1);
  CHECK(splits_of(decode(4000, 4000, 1, 8192)) == 1);
  CHECK(splits_of(decode(1, 1, 1, 320)) == 1);
  CHECK(splits_of(decode(1, 1, 1, 321)) > 1);
  CHECK(splits_of(decode(1, 1, 1, 0)) == 1);
  CHECK(splits_of(decode(32, 32, 1, 8192), 1) == 1);
}

TEST_CASE("no split is left without keys", "[splits]") {
  for (std::int64_t tiles = 6; tiles < 300; ++tiles) {
    for (const std::int64_t heads : {1, 7, 20}) {
      const int splits = splits_of(decode(heads, heads, 1, tiles * kTile.keys));
      const std::int64_t share = (tiles + splits - 1) / splits;
      CHECK((splits - 1) * share < tiles);
    }
  }
}

TEST_CASE("only visible keys are split", "[splits]") {
  AttentionProblem window = causal(decode(2, 2, 1, 65536));
  CHECK(splits_of(window) == splits_of(decode(2, 2, 1, 65536)));
  window.window_left = 255;  // four tiles at most
  CHECK(splits_of(window) == 1);
  window.window_left = 64 * 20 - 1;
  CHECK(splits_of(window) == 10);
  AttentionProblem top_left = decode(2, 2, 8, 65536);
  top_left.window_right = 0;
  CHECK(splits_of(top_left) == 1);
  AttentionProblem beyond = decode(2, 2, 8, 65536);
  beyond.window_left = 10;
  beyond.diagonal = 100000;
  CHECK(splits_of(beyond) == 1);
}

TEST_CASE("splits fit in a cluster by their number and by what each leaves in shared memory", "[splits]") {
  const KernelParameters p = make_packed_parameters(decode(32, 8, 3, 8192), kTile.rows());  // 12 rows of 128 columns
  constexpr int kRowBytes = (128 + 2) * 4;
  CHECK(fit_in_cluster(p, 2, kTile, 12 * kRowBytes));
  CHECK_FALSE(fit_in_cluster(p, 2, kTile, 12 * kRowBytes - 1));
  CHECK_FALSE(fit_in_cluster(p, 1, kTile, 12 * kRowBytes));
  CHECK(fit_in_cluster(p, 8, kTile, 12 * kRowBytes));
  CHECK_FALSE(fit_in_cluster(p, 9, kTile, 12 * kRowBytes));
  TileShape shared_rows = kTile;
  shared_rows.key_warps = 4;  // 16 rows, and a part of each from every warp
  CHECK_FALSE(fit_in_cluster(p, 2, shared_rows, 4 * 12 * kRowBytes - 1));
  CHECK(fit_in_cluster(p, 2, shared_rows, 4 * 12 * kRowBytes));
  const KernelParameters many = make_packed_parameters(decode(8, 8, 100, 8192), kTile.rows());
  CHECK(fit_in_cluster(many, 2, kTile, kTile.rows() * kRowBytes));  // a tile has no more rows than that
}

TEST_CASE("the workspace has room for the splits of every card", "[splits]") {
  for (const std::int64_t heads : {1, 8, 32, 96}) {
    for (const std::int64_t queries : {1, 4, 33, 64}) {
      for (const std::int64_t keys : {500, 4097, 100000}) {
        const AttentionProblem problem = causal(decode(heads, heads % 8 == 0 ? 8 : 1, queries, keys));
        const std::size_t bytes = split_workspace_bytes(problem, kTile);
        for (int multiprocessors = 1; multiprocessors <= kMostMultiprocessors; ++multiprocessors) {
          for (int blocks = 1; blocks <= kTile.blocks_per_sm; ++blocks) {
            const int splits = splits_of(problem, multiprocessors * blocks);
            if (splits == 1) continue;
            const std::size_t rows = static_cast<std::size_t>(splits * heads * queries);
            REQUIRE(rows * (128 + 2) * sizeof(float) <= bytes);
          }
        }
      }
    }
  }
  CHECK(split_workspace_bytes(decode(4000, 4000, 1, 8192), kTile) == 0);
  CHECK(split_workspace_bytes(decode(0, 1, 1, 8192), kTile) == 0);
}

TEST_CASE("unfinished rows lie one after the other in the workspace", "[splits]") {
  AttentionProblem problem = decode(4, 4, 3, 8192);
  problem.value_dim = 50;
  KernelParameters p = make_packed_parameters(problem, kTile.rows());
  std::vector<float> workspace(3240);  // 60 rows of 52 + 2
  set_splits(p, 5, workspace.data());
  CHECK(p.splits == 5);
  CHECK(p.partial_columns == 52);
  CHECK(p.partial_outputs == workspace.data());
  CHECK(p.partial_sums == workspace.data() + std::ptrdiff_t{5} * 4 * 3 * 52);
}

}  // namespace flashconvert::kernels
