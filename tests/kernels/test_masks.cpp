// The kernels against float64: biases, windows, rows without a visible key.
#include "expect.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {

TEST_CASE("bias of every kind and shape", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
      for (const BiasShape shape : {BiasShape::kFull, BiasShape::kPerHead, BiasShape::kKeyPadding, BiasShape::kPerQuery,
                                    BiasShape::kWindowed, BiasShape::kTransposed}) {
        for (const std::int64_t keys : {64, 135}) {
          AttentionCase test = basic(dtype, 75, keys, 64, 64);
          test.batch = 6;
          test.bias_kind = kind;
          test.bias_shape = shape;
          expect_pass(test);
        }
      }
    }
    for (const std::int64_t dim : {32, 96, 128, 192, 256}) {
      AttentionCase test = basic(dtype, 75, 135, dim, dim);
      test.bias_kind = BiasKind::kSameAsQuery;
      expect_pass(test);
      test.bias_kind = BiasKind::kBoolean;
      test.hide_some_rows_whole = true;
      expect_pass(test);
    }
  }
}

TEST_CASE("bias over many tiles, aligned or not", "[masks][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
      for (const std::int64_t keys : {512, 515}) {
        AttentionCase test = basic(dtype, 410, keys, 64, 64);
        test.batch = 1;
        test.bias_kind = kind;
        expect_pass(test);
        test.bias_shape = BiasShape::kKeyPadding;
        test.hidden_share = 0.6;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("bias in several times as many tiles as the card has multiprocessors", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
        for (const BiasShape shape : {BiasShape::kPerHead, BiasShape::kKeyPadding}) {
          AttentionCase test = basic(dtype, 300, 304, dim, dim);
          test.batch = 10;
          test.heads = 16;
          test.key_heads = 4;
          test.bias_kind = kind;
          test.bias_shape = shape;
          test.sampled_rows = 401;
          expect_pass(test);
          test.diagonal = 4;
          expect_pass(causal(test));
        }
      }
    }
  }
}

TEST_CASE("whole tiles of keys are hidden", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
      AttentionCase test = basic(dtype, 70, 700, 64, 64);
      test.bias_kind = kind;
      test.bias_shape = BiasShape::kKeyPadding;
      test.hidden_share = 0.995;
      expect_pass(test);
    }
  }
}

TEST_CASE("causal attention, aligned to either corner", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128, 256}) {
      for (const auto& [queries, keys] :
           {std::pair{200, 200}, {70, 300}, {300, 70}, {1, 130}, {520, 530}, {700, 260}}) {
        for (const bool zero : {false, true}) {
          AttentionCase test = causal(basic(dtype, queries, keys, dim, dim));
          test.zero_masked_rows = zero;
          expect_pass(test);
          test.diagonal = keys - queries;  // more queries than keys: the first rows see nothing
          expect_pass(test);
        }
      }
    }
  }
}

TEST_CASE("windows", "[masks][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const auto& [left, right] : {std::pair{0, 0}, {16, 0}, {33, 40}, {-1, 20}, {20, -1}, {100, 0}}) {
      AttentionCase test = basic(dtype, 260, 300, 64, 64);
      test.window_left = left;
      test.window_right = right;
      test.diagonal = 40;
      expect_pass(test);
      test.bias_kind = BiasKind::kFloat32;
      test.bias_shape = BiasShape::kPerHead;
      expect_pass(test);
    }
  }
}

TEST_CASE("windows that skip tiles on both sides", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      for (const auto& [left, right] : {std::pair{256, 0}, {128, 0}, {100, 130}, {0, 300}}) {
        AttentionCase test = basic(dtype, 1100, 1100, dim, dim);
        test.batch = 1;
        test.window_left = left;
        test.window_right = right;
        test.sampled_rows = 1101;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("rows in which every key is masked", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const bool zero : {false, true}) {
      for (const BiasKind kind : {BiasKind::kSameAsQuery, BiasKind::kFloat32, BiasKind::kBoolean}) {
        AttentionCase test = basic(dtype, 90, 140, 64, 64);
        test.bias_kind = kind;
        test.hide_some_rows_whole = true;
        test.zero_masked_rows = zero;
        expect_pass(test);
      }
      AttentionCase window = basic(dtype, 300, 140, 64, 64);  // rows above and below the window's reach
      window.window_left = 3;
      window.window_right = 2;
      window.diagonal = -60;
      window.zero_masked_rows = zero;
      expect_pass(window);
      window.diagonal = -1000;  // no row reaches a key
      expect_pass(window);
      window.diagonal = 1000;
      expect_pass(window);
    }
  }
}

TEST_CASE("rows of tiles without a visible key, between tiles with some", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128, 256}) {
      AttentionCase test = basic(dtype, 2500, 140, dim, dim);  // only the first query tiles of each head see anything
      test.batch = 1;
      test.heads = test.key_heads = 3;
      test.window_left = 40;
      test.window_right = 2;
      test.diagonal = -60;
      expect_pass(test);
      test.window_right = -1;  // rows see ever fewer keys, then none
      test.zero_masked_rows = true;
      expect_pass(test);
    }
  }
}

TEST_CASE("finite masks leave uniform weights where nothing else is left", "[masks]") {
  for (const DType dtype : kDTypes) {
    AttentionCase test = basic(dtype, 90, 140, 64, 64);
    test.bias_kind = BiasKind::kFloat32;
    test.hidden_value = -std::numeric_limits<float>::max();
    test.hide_some_rows_whole = true;
    expect_pass(test);
    test.bias_kind = BiasKind::kSameAsQuery;
    test.hidden_value = dtype == DType::kFloat16 ? -65504.F : -3.3e38F;
    expect_pass(test);
    test.hidden_value = -1e4F;
    expect_pass(test);
  }
}

TEST_CASE("finite padding of every key leaves uniform weights", "[masks]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      AttentionCase test = basic(dtype, 90, 140, dim, dim);
      test.bias_shape = BiasShape::kKeyPadding;
      test.hidden_share = 1;
      test.bias_kind = BiasKind::kFloat32;
      test.hidden_value = -std::numeric_limits<float>::max();
      expect_pass(test);
      test.bias_kind = BiasKind::kSameAsQuery;
      test.hidden_value = dtype == DType::kFloat16 ? -65504.F : -3.3e38F;
      expect_pass(test);
      test.hidden_value = -std::numeric_limits<float>::infinity();
      expect_pass(test);
      test.zero_masked_rows = true;
      test.bias_kind = BiasKind::kBoolean;
      expect_pass(test);
    }
  }
}

TEST_CASE("no keys, no queries", "[masks][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128, 256}) {
      for (const bool zero : {false, true}) {
        AttentionCase test = basic(dtype, 70, 0, dim, dim);
        test.zero_masked_rows = zero;
        expect_pass(test);
        expect_pass(causal(test));
        test.bias_kind = BiasKind::kBoolean;
        expect_pass(test);
      }
      expect_pass(basic(dtype, 0, 70, dim, dim));
    }
  }
}

}  // namespace flashconvert::kernels::testing
