// The kernels against float64: lengths, dimensions, layouts, head counts.
#include "expect.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr std::int64_t kPeriod = 1'000'003;  // a prime: no stride is a multiple of it

}  // namespace

TEST_CASE("lengths that do not divide the tiles", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      for (const std::int64_t length : {1, 3, 50, 64, 113, 197, 203}) {
        expect_pass(basic(dtype, length, length, dim, dim));
        expect_pass(causal(basic(dtype, length, length, dim, dim)));
      }
      for (const std::int64_t length : {1023, 1024, 1025, 4097}) {
        AttentionCase test = basic(dtype, length, length, dim, dim);
        test.batch = 1;
        if (length > 4000) test.sampled_rows = 701;
        expect_pass(test);
        expect_pass(causal(test));
      }
    }
  }
}

TEST_CASE("every length up to two tiles", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (std::int64_t length = 1; length <= 270; length += length % 7 == 0 ? 5 : 3) {
      AttentionCase test = basic(dtype, length, 271 - length, 64, 64);
      test.batch = test.heads = test.key_heads = 1;
      expect_pass(test);
    }
  }
}

TEST_CASE("few queries, many keys", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t queries : {1, 4, 16, 64}) {
      for (const std::int64_t keys : {203, 1025, 8192}) {
        AttentionCase test = basic(dtype, queries, keys, 128, 128);
        test.batch = 1;
        expect_pass(test);
        test.diagonal = keys - queries;
        expect_pass(causal(test));
        test.heads = 8;
        test.key_heads = 2;
        expect_pass(causal(test));
      }
    }
    expect_pass(basic(dtype, 129, 7, 64, 64));
    expect_pass(basic(dtype, 65, 513, 128, 128));
    expect_pass(basic(dtype, 600, 1, 64, 64));
  }
}

TEST_CASE("every head dimension", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {8, 16, 32, 40, 48, 64, 72, 80, 88, 96, 104, 112, 128, 160, 192, 224, 256}) {
      expect_pass(basic(dtype, 70, 150, dim, dim));
      AttentionCase longer = basic(dtype, 450, 520, dim, dim);
      longer.batch = 1;
      expect_pass(longer);
      expect_pass(causal(longer));
    }
    for (const std::int64_t dim : {1, 2, 4, 7, 12, 33, 36, 65, 99, 129, 191, 255}) {
      expect_pass(basic(dtype, 70, 150, dim, dim));
    }
  }
}

TEST_CASE("value dimensions other than the head dimension", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const auto& [head_dim, value_dim] :
         {std::pair{64, 32}, {64, 128}, {32, 128}, {192, 128}, {128, 192}, {256, 64}, {33, 65}, {1, 256}, {256, 1}}) {
      expect_pass(basic(dtype, 70, 150, head_dim, value_dim));
    }
    AttentionCase longer = basic(dtype, 450, 520, 192, 128);
    longer.batch = 1;
    expect_pass(longer);
    expect_pass(causal(longer));
  }
}

TEST_CASE("memory layouts", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const Layout layout :
         {Layout::kBHLD, Layout::kBLHD, Layout::kPackedQKV, Layout::kSpread, Layout::kBroadcast, Layout::kUnaligned}) {
      for (const std::int64_t dim : {64, 80, 128}) {
        AttentionCase test = basic(dtype, 130, 130, dim, dim);
        test.layout = layout;
        expect_pass(test);
        expect_pass(causal(test));
      }
    }
  }
}

TEST_CASE("strides of extents of 1 mean nothing", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const auto& [queries, keys] : {std::pair{130, 200}, {1, 200}, {130, 1}, {1, 1}}) {
      AttentionCase test = basic(dtype, queries, keys, 64, 64);
      test.batch = test.heads = test.key_heads = 1;
      test.odd_unused_strides = true;
      expect_pass(test);
    }
  }
}

TEST_CASE("grouped heads", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t key_heads : {1, 2, 6}) {
      for (const std::int64_t dim : {64, 128}) {
        AttentionCase test = basic(dtype, 100, 140, dim, dim);
        test.heads = 6;
        test.key_heads = key_heads;
        expect_pass(test);
        expect_pass(causal(test));
      }
    }
  }
}

TEST_CASE("several times as many tiles as the card has multiprocessors", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128, 256}) {
      AttentionCase test = basic(dtype, 700, 700, dim, dim);
      test.batch = 5;
      test.heads = test.key_heads = 20;
      test.sampled_rows = 1501;
      test.period = kPeriod;
      expect_pass(test);
      expect_pass(causal(test));
      test.key_heads = 4;
      expect_pass(causal(test));
    }
    for (const std::int64_t length : {50, 64, 197}) {
      AttentionCase test = basic(dtype, length, length, 64, 64);
      test.batch = 300;
      test.heads = test.key_heads = 12;
      test.sampled_rows = 5003;
      test.period = kPeriod;
      expect_pass(test);
    }
  }
}

}  // namespace flashconvert::kernels::testing
