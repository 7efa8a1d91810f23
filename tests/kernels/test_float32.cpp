// float32 against float64 over its range: large beside small, denormals, cancellation, many keys. The kernels for
// halves (sm90-fp16x3) leave some of these to TF32, by a decision on the device.
#include "expect.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

AttentionCase float32(std::int64_t queries, std::int64_t keys, std::int64_t dim, Numbers numbers) {
  AttentionCase test = basic(DType::kFloat32, queries, keys, dim, dim);
  test.numbers = numbers;
  return test;
}

}  // namespace

TEST_CASE("float32: operands of all sizes", "[float32]") {
  for (const std::int64_t dim : {64, 128}) {
    for (const Numbers numbers : {Numbers::kWideRows, Numbers::kWideTensor, Numbers::kDenormal, Numbers::kHugeKey,
                                  Numbers::kRowsOfAllSizes, Numbers::kPositiveValues, Numbers::kCancelling}) {
      const AttentionCase test = float32(150, 333, dim, numbers);
      expect_pass(test);
      expect_pass(causal(test));
    }
  }
}

TEST_CASE("float32: operands that are all tiny or huge", "[float32]") {
  for (const double size : {1e-38, 1e-30, 1e-18, 1e-9, 1e6}) {
    AttentionCase test = float32(150, 333, 64, Numbers::kRandom);
    test.logit_size = size;
    test.scale = size > 1 ? 1e-13 : 0.125;
    expect_pass(test);
    expect_pass(causal(test));
  }
}

TEST_CASE("float32: peaky scores", "[float32]") {
  for (const std::int64_t dim : {64, 128}) {
    for (const double size : {3.0, 7.0, 20.0}) {
      AttentionCase test = float32(200, 700, dim, Numbers::kRandom);
      test.logit_size = size;
      expect_pass(test);
    }
  }
}

TEST_CASE("float32: sixteen thousand keys", "[float32]") {
  for (const Numbers numbers : {Numbers::kRandom, Numbers::kPositiveValues}) {
    AttentionCase test = float32(192, 16384, 64, numbers);
    test.batch = test.heads = test.key_heads = 1;
    test.sampled_rows = 48;
    expect_pass(test);
  }
}

TEST_CASE("float32: every head size, bias and window, large enough for halves to be preferred", "[float32][sanitize]") {
  for (const std::int64_t dim : {32, 64, 96, 128, 192, 256}) {
    AttentionCase test = float32(300, 430, dim, Numbers::kRandom);
    test.heads = 34;
    test.key_heads = 17;
    test.sampled_rows = 207;
    expect_pass(test);
    test.window_left = 100;
    expect_pass(causal(test));
    if (dim > 128) continue;
    test.bias_kind = BiasKind::kBoolean;
    test.bias_shape = BiasShape::kKeyPadding;
    expect_pass(test);
    test.bias_shape = BiasShape::kPerHead;
    test.bias_kind = BiasKind::kSameAsQuery;
    expect_pass(test);
  }
}

}  // namespace flashconvert::kernels::testing
