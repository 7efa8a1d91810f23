// The kernels against float64: few queries and many keys, where keys are split among blocks and grouped heads packed.
#include <array>

#include "expect.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

// One batch of two heads: few enough blocks to split the keys of each, and a small reference.
AttentionCase few(DType dtype, std::int64_t queries, std::int64_t keys, std::int64_t dim) {
  AttentionCase test = basic(dtype, queries, keys, dim, dim);
  test.batch = 1;
  return test;
}

AttentionCase grouped(AttentionCase test, std::int64_t heads, std::int64_t key_heads) {
  test.heads = heads;
  test.key_heads = key_heads;
  return test;
}

// The last query sees the last key.
AttentionCase bottom_right(AttentionCase test) {
  test.diagonal = test.key_length - test.query_length;
  return causal(test);
}

}  // namespace

TEST_CASE("split keys: lengths", "[splits]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t queries : {1, 3, 16, 64}) {
      for (const std::int64_t keys : {1, 113, 1025, 4097, 16384}) {
        AttentionCase test = few(dtype, queries, keys, 128);
        test.period = 1'000'003;
        expect_pass(test);
        if (keys < 10000) expect_pass(bottom_right(test));
      }
    }
  }
}

TEST_CASE("split keys: every number of tiles", "[splits]") {
  for (const DType dtype : kDTypes) {
    for (std::int64_t keys = 60; keys < 1500; keys += 83) {
      expect_pass(few(dtype, 2, keys, 64));
      expect_pass(bottom_right(few(dtype, 30, keys, 32)));
    }
  }
}

TEST_CASE("split keys: every head dimension", "[splits][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {8, 32, 40, 64, 80, 96, 128, 192, 200, 256}) {
      expect_pass(few(dtype, 5, 1500, dim));
    }
    for (const std::int64_t dim : {1, 7, 33, 99, 255}) expect_pass(few(dtype, 5, 1100, dim));
    for (const auto& [head_dim, value_dim] : {std::pair{64, 32}, {32, 128}, {192, 128}, {33, 65}, {256, 1}}) {
      AttentionCase test = few(dtype, 5, 1500, head_dim);
      test.value_dim = value_dim;
      expect_pass(test);
    }
  }
}

TEST_CASE("split keys: windows", "[splits]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t queries : {1, 16, 200}) {
      for (const auto& [left, right, diagonal] : {std::array{900, 0, 3000},
                                                  {700, 600, 2000},
                                                  {-1, 30, 1500},
                                                  {500, -1, 2500},
                                                  {2000, 0, 300},
                                                  {10, 10, 5000}}) {
        AttentionCase test = few(dtype, queries, 3333, 64);
        test.window_left = left;
        test.window_right = right;
        test.diagonal = diagonal;
        expect_pass(test);
      }
    }
    expect_pass(
        causal(few(dtype, 300, 2000, 64)));  // tiles of queries that see one tile of keys, and some that see many
  }
}

TEST_CASE("split keys: biases", "[splits]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
      for (const BiasShape shape : {BiasShape::kFull, BiasShape::kPerHead, BiasShape::kKeyPadding, BiasShape::kPerQuery,
                                    BiasShape::kTransposed}) {
        for (const std::int64_t queries : {1, 16}) {
          AttentionCase test = few(dtype, queries, queries == 1 ? 2049 : 1024, 64);
          test.bias_kind = kind;
          test.bias_shape = shape;
          expect_pass(test);
        }
      }
    }
    AttentionCase test = bottom_right(few(dtype, 40, 2049, 128));
    test.bias_kind = BiasKind::kSameAsQuery;
    test.softcap = 20;
    test.logit_size = 2;
    expect_pass(test);
    test.bias_kind = BiasKind::kNone;
    expect_pass(test);
  }
}

TEST_CASE("split keys: splits and rows without a visible key", "[splits]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
      for (const bool zero : {false, true}) {
        AttentionCase test = few(dtype, 16, 4097, 64);
        test.bias_kind = kind;
        test.zero_masked_rows = zero;
        test.hidden_share = 0.9993;  // a row sees three keys
        test.hide_some_rows_whole = true;
        expect_pass(test);
        test.bias_shape = BiasShape::kKeyPadding;
        test.hide_some_rows_whole = false;
        expect_pass(test);
        test.hidden_share = 1;
        expect_pass(test);
      }
    }
    AttentionCase finite = few(dtype, 16, 2049, 64);
    finite.bias_kind = BiasKind::kFloat32;
    finite.hidden_value = -std::numeric_limits<float>::max();
    finite.hide_some_rows_whole = true;
    expect_pass(finite);
    for (const bool zero : {false, true}) {
      AttentionCase window = few(dtype, 100, 2000, 64);  // the last rows see ever fewer keys, then none
      window.window_left = 20;
      window.diagonal = 1960;
      window.zero_masked_rows = zero;
      expect_pass(window);
      expect_pass(grouped(few(dtype, 1, 0, 64), 6, 2));
    }
  }
}

TEST_CASE("split keys: extreme numbers", "[splits]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t queries : {1, 16}) {
      AttentionCase test = few(dtype, queries, 2049, 64);
      for (const Numbers numbers : {Numbers::kInfiniteValues, Numbers::kNaNQuery, Numbers::kNaNKey}) {
        test.numbers = numbers;
        expect_pass(test);
      }
      test.scale = 0.125;
      for (const Numbers numbers : {Numbers::kEqualScores, Numbers::kOppositeScores}) {
        for (const double score : {0.0, 1e4}) {
          test.numbers = numbers;
          test.score_size = score / (test.scale * 64);
          expect_pass(test);
        }
      }
    }
    AttentionCase large = few(dtype, 64, 1500, 64);
    large.batch = large.heads = large.key_heads = 3;
    large.scale = 0.125;
    large.logit_size = 35;
    expect_pass(large);
    large.scale = -0.125;
    large.logit_size = 1;
    expect_pass(large);
  }
}

TEST_CASE("packed heads: groups and lengths", "[splits][packed]") {
  for (const DType dtype : kDTypes) {
    for (const auto& [heads, key_heads] : {std::pair{8, 2}, {6, 2}, {7, 1}, {64, 1}, {16, 2}}) {
      for (const std::int64_t queries : {1, 4, 17, 40}) {
        for (const std::int64_t keys : {150, 1025}) {
          const AttentionCase test = grouped(few(dtype, queries, keys, 64), heads, key_heads);
          expect_pass(test);
          expect_pass(bottom_right(test));
        }
      }
    }
  }
}

TEST_CASE("packed heads: layouts and windows", "[splits][packed][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const Layout layout :
         {Layout::kBHLD, Layout::kBLHD, Layout::kSpread, Layout::kBroadcast, Layout::kUnaligned}) {
      for (const std::int64_t queries : {1, 5}) {
        AttentionCase test = grouped(basic(dtype, queries, 700, 80, 80), 8, 2);
        test.layout = layout;
        test.odd_unused_strides = true;
        expect_pass(test);
        test.diagonal = 500;
        test.window_left = 300;
        test.window_right = 3;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("packed heads: biases", "[splits][packed]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
      for (const BiasShape shape :
           {BiasShape::kFull, BiasShape::kPerHead, BiasShape::kKeyPadding, BiasShape::kPerQuery}) {
        for (const std::int64_t queries : {1, 4}) {
          for (const std::int64_t keys : {201, 1200}) {
            AttentionCase test = grouped(basic(dtype, queries, keys, 64, 64), 12, 4);
            test.bias_kind = kind;
            test.bias_shape = shape;
            expect_pass(test);
          }
        }
      }
    }
  }
}

}  // namespace flashconvert::kernels::testing
