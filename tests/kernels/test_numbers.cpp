// The kernels against float64: scales, softcap, extreme scores, infinities and NaN.
#include "expect.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {

TEST_CASE("softcap", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const double softcap : {0.5, 5.0, 50.0}) {
      for (const std::int64_t dim : {64, 128}) {
        AttentionCase test = basic(dtype, 100, 340, dim, dim);
        test.softcap = softcap;
        test.logit_size = 2;
        expect_pass(test);
        test.diagonal = 40;
        expect_pass(causal(test));
        test.bias_kind = BiasKind::kSameAsQuery;
        expect_pass(causal(test));
      }
    }
  }
}

TEST_CASE("scales: negative, zero, large", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const double scale : {-0.125, 0.0, 1.0}) {
      AttentionCase test = basic(dtype, 100, 340, 64, 64);
      test.scale = scale;
      expect_pass(test);
      test.window_right = 20;
      expect_pass(test);
    }
  }
}

TEST_CASE("logits of ten thousand", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      for (const double size : {11.0, 35.0}) {  // the largest scores are near 10^3 and 10^4
        AttentionCase test = basic(dtype, 100, 400, dim, dim);
        test.batch = test.heads = test.key_heads = 4;  // many rows: few of them have two keys that are nearly equal,
        test.scale = 0.125;                            // and those make the largest error of either computation
        test.logit_size = size;
        expect_pass(test);
        expect_pass(causal(test));
      }
    }
  }
}

TEST_CASE("scores that are all equal, or plus and minus ten thousand", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128, 256}) {
      for (const Numbers numbers : {Numbers::kEqualScores, Numbers::kOppositeScores}) {
        for (const double score : {0.0, 1.0, 1e4}) {
          AttentionCase test = basic(dtype, 100, 400, dim, dim);
          test.numbers = numbers;
          test.scale = 0.125;
          test.score_size = score / (test.scale * static_cast<double>(dim));
          expect_pass(test);
          expect_pass(causal(test));
        }
      }
    }
  }
}

// The running maximum rises with every tile of keys, by less and by more than the softmax lets weights exceed 1,
// whichever way a kernel walks; and where all scores are negative.
TEST_CASE("scores that rise or fall along the keys, above and below zero", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {32, 64, 96, 128, 192, 256}) {
      for (const double score : {10.0, 60.0, 1e3, 1e4}) {
        AttentionCase test = basic(dtype, 200, 900, dim, dim);
        test.numbers = Numbers::kSlopingScores;
        test.scale = 0.125;
        test.score_size = score / (test.scale * static_cast<double>(dim) / 2);
        expect_pass(test);
        test.diagonal = 700;
        expect_pass(causal(test));
        if (dim != 64 && dim != 128) continue;
        test.bias_kind = BiasKind::kSameAsQuery;
        expect_pass(test);
        test.bias_shape = BiasShape::kKeyPadding;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("infinite values reach the outputs that weigh them", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128, 256}) {
      for (const std::int64_t keys : {90, 500}) {
        AttentionCase test = basic(dtype, 60, keys, dim, dim);
        test.numbers = Numbers::kInfiniteValues;
        expect_pass(test);
        test.layout = Layout::kUnaligned;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("NaN stays in the rows that see it", "[numbers]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      AttentionCase test = basic(dtype, 300, 300, dim, dim);
      test.batch = 1;
      test.numbers = Numbers::kNaNQuery;
      expect_pass(test);
      test.numbers = Numbers::kNaNKey;
      expect_pass(test);
      expect_pass(causal(test));  // the first half of the queries does not see it
    }
  }
}

}  // namespace flashconvert::kernels::testing
