// The kernels against float64 over everything that the interface allows. Each case is data; `expect_pass` runs it.
#include "compare.h"
#include "device_runner.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr DType kDTypes[] = {DType::kFloat16, DType::kBFloat16, DType::kFloat32};

void expect_pass(const AttentionCase& test, Launch launch = Launch::kDirect) {
  INFO(describe(test));
  const HostProblem host = make_problem(test);
  INFO(select_kernel(host.problem, device_compute_capability()));
  const DeviceResult result = run_on_device(test, host, launch);
  const std::string fault = find_fault(test, make_expected(test, host), result.values);
  CHECK(fault == "");
  CHECK_FALSE(result.wrote_outside);
}

double usual_scale(std::int64_t head_dim) { return 1 / std::sqrt(static_cast<double>(head_dim)); }

AttentionCase basic(DType dtype, std::int64_t query_length, std::int64_t key_length, std::int64_t head_dim,
                    std::int64_t value_dim) {
  AttentionCase test;
  test.dtype = dtype;
  test.query_length = query_length;
  test.key_length = key_length;
  test.head_dim = head_dim;
  test.value_dim = value_dim;
  test.scale = usual_scale(head_dim);
  return test;
}

}  // namespace

TEST_CASE("lengths that do not divide the tiles", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t length : {1, 3, 50, 64, 113, 197, 203}) expect_pass(basic(dtype, length, length, 64, 64));
    for (const std::int64_t length : {1023, 1024, 1025}) {
      AttentionCase test = basic(dtype, length, length, 64, 64);
      test.batch = 1;
      expect_pass(test);
    }
    expect_pass(basic(dtype, 1, 203, 64, 64));
    expect_pass(basic(dtype, 129, 7, 64, 64));
    expect_pass(basic(dtype, 65, 513, 128, 128));
  }
}

TEST_CASE("every head dimension", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {16, 32, 40, 64, 72, 80, 88, 96, 104, 128, 192, 256}) {
      expect_pass(basic(dtype, 70, 150, dim, dim));
    }
    for (const std::int64_t dim : {1, 2, 7, 33, 65, 99, 129, 191, 255}) expect_pass(basic(dtype, 70, 150, dim, dim));
  }
}

TEST_CASE("value dimensions other than the head dimension", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    expect_pass(basic(dtype, 70, 150, 64, 32));
    expect_pass(basic(dtype, 70, 150, 32, 128));
    expect_pass(basic(dtype, 70, 150, 192, 128));
    expect_pass(basic(dtype, 70, 150, 33, 65));
    expect_pass(basic(dtype, 70, 150, 1, 256));
    expect_pass(basic(dtype, 70, 150, 256, 1));
  }
}

TEST_CASE("memory layouts", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const Layout layout : {Layout::kBHLD, Layout::kBLHD, Layout::kPackedQKV, Layout::kUnaligned}) {
      for (const std::int64_t dim : {64, 80}) {
        AttentionCase test = basic(dtype, 130, 130, dim, dim);
        test.layout = layout;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("bias of every kind and shape", "[attention]") {
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

TEST_CASE("causal attention, aligned to either corner", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t dim : {64, 128}) {
      for (const auto& [queries, keys] : {std::pair{200, 200}, {70, 300}, {300, 70}, {1, 130}}) {
        for (const bool bottom_right : {false, true}) {
          AttentionCase test = basic(dtype, queries, keys, dim, dim);
          test.window_right = 0;
          test.diagonal = bottom_right ? keys - queries : 0;
          expect_pass(test);
        }
      }
    }
  }
}

TEST_CASE("windows", "[attention][sanitize]") {
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

TEST_CASE("softcap", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const double softcap : {0.5, 5.0, 50.0}) {
      AttentionCase test = basic(dtype, 100, 140, 64, 64);
      test.softcap = softcap;
      test.logit_size = 2;
      expect_pass(test);
      test.bias_kind = BiasKind::kSameAsQuery;
      test.window_right = 0;
      test.diagonal = 40;
      expect_pass(test);
    }
  }
}

TEST_CASE("scales: negative, zero, large", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const double scale : {-0.125, 0.0, 1.0}) {
      AttentionCase test = basic(dtype, 100, 140, 64, 64);
      test.scale = scale;
      test.window_right = 20;
      expect_pass(test);
    }
  }
}

TEST_CASE("grouped heads", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const std::int64_t key_heads : {1, 2, 6}) {
      AttentionCase test = basic(dtype, 100, 140, 64, 64);
      test.heads = 6;
      test.key_heads = key_heads;
      expect_pass(test);
      test.window_right = 0;
      expect_pass(test);
    }
  }
}

TEST_CASE("rows in which every key is masked", "[attention]") {
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
    }
  }
}

TEST_CASE("finite masks leave uniform weights where nothing else is left", "[attention]") {
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

TEST_CASE("no keys, no queries", "[attention][sanitize]") {
  for (const DType dtype : kDTypes) {
    for (const bool zero : {false, true}) {
      AttentionCase test = basic(dtype, 70, 0, 64, 64);
      test.zero_masked_rows = zero;
      expect_pass(test);
      test.bias_kind = BiasKind::kBoolean;
      expect_pass(test);
    }
    expect_pass(basic(dtype, 0, 70, 64, 64));
  }
}

TEST_CASE("logits of ten thousand", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const double size : {11.0, 35.0}) {  // the largest scores are near 10^3 and 10^4
      AttentionCase test = basic(dtype, 100, 200, 64, 64);
      test.logit_size = size;
      expect_pass(test);
    }
  }
}

TEST_CASE("infinite values reach the outputs that weigh them", "[attention]") {
  for (const DType dtype : kDTypes) {
    AttentionCase test = basic(dtype, 60, 90, 64, 64);
    test.infinite_values = true;
    expect_pass(test);
    test.layout = Layout::kUnaligned;
    expect_pass(test);
  }
}

TEST_CASE("more heads than a grid's second dimension holds", "[attention]") {
  AttentionCase test = basic(DType::kFloat16, 2, 3, 8, 8);
  test.batch = 9000;
  test.heads = test.key_heads = 8;
  expect_pass(test);
}

TEST_CASE("the same bits every time, in graphs and on two streams", "[attention]") {
  for (const DType dtype : kDTypes) {
    for (const BiasKind kind : {BiasKind::kNone, BiasKind::kSameAsQuery}) {
      AttentionCase test = basic(dtype, 333, 444, 64, 64);
      test.bias_kind = kind;
      INFO(describe(test));
      const HostProblem host = make_problem(test);
      const DeviceResult first = run_on_device(test, host);
      for (int repeat = 0; repeat < 5; ++repeat) CHECK(run_on_device(test, host).bytes == first.bytes);
      CHECK(run_on_device(test, host, Launch::kGraph).bytes == first.bytes);
      CHECK(run_on_device(test, host, Launch::kTwoStreams).bytes == first.bytes);
    }
  }
}

}  // namespace flashconvert::kernels::testing
