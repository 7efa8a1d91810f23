// Linear layers in float32: every kernel that takes a case against float64, and against what a plain float32 sum loses.
#include <cmath>
#include <limits>
#include <tuple>

#include "linear_case.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {

TEST_CASE("linear layers of sizes that divide no tile", "[linear]") {
  constexpr std::tuple<int, int, int> kSizes[] = {{1, 1, 1},        {1, 5, 3},       {3, 33, 7},      {17, 96, 40},
                                                  {64, 64, 64},     {130, 100, 200}, {257, 260, 193}, {300, 1028, 333},
                                                  {128, 1600, 200}, {60, 4100, 70}};
  for (const auto& [rows, in_features, out_features] : kSizes) {
    expect_pass(sized(rows, in_features, out_features));
  }
}

TEST_CASE("linear layers in every layout", "[linear][sanitize]") {
  for (const bool input_by_columns : {false, true}) {
    for (const bool weight_by_columns : {false, true}) {
      for (const std::int64_t padding : {0, 1, 4}) {
        LinearCase test = sized(150, 132, 210);
        test.input_by_columns = input_by_columns;
        test.weight_by_columns = weight_by_columns;
        test.padding = padding;
        expect_pass(test);
      }
    }
  }
}

TEST_CASE("what follows the product", "[linear]") {
  for (const Activation activation :
       {Activation::kNone, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu, Activation::kSilu}) {
    for (const bool has_bias : {false, true}) {
      LinearCase test = sized(200, 256, 390);
      test.activation = activation;
      test.has_bias = has_bias;
      expect_pass(test);
    }
  }
}

TEST_CASE("linear layers over float32's range", "[linear]") {
  LinearCase test = sized(100, 300, 120);
  test.has_bias = false;
  SECTION("rows of very different size") {
    test.input = [](std::int64_t row, std::int64_t, float x) {
      return x * std::pow(10.F, static_cast<float>(row % 13 - 6));
    };
  }
  SECTION("columns a thousand times as large as the rest") {
    test.input = [](std::int64_t, std::int64_t k, float x) { return k % 50 == 0 ? 1000.F * x : x; };
  }
  SECTION("huge numbers beside tiny ones, which the weight picks out") {
    test.input = [](std::int64_t, std::int64_t k, float x) { return k == 7 ? 1e30F : 1e-30F * x; };
    test.weight = [](std::int64_t, std::int64_t k, float x) { return k == 7 ? 0.F : x; };
  }
  SECTION("the same in the weight") {
    test.weight = [](std::int64_t, std::int64_t k, float x) { return k == 7 ? 1e30F : 1e-30F * x; };
    test.input = [](std::int64_t, std::int64_t k, float x) { return k == 7 ? 0.F : x; };
  }
  SECTION("small elements in every chunk") {
    test.input = [](std::int64_t, std::int64_t k, float x) { return k % 2 == 0 ? x : 1e-7F * x; };
    test.weight = [](std::int64_t, std::int64_t k, float x) { return k % 2 == 0 ? 0.F : x; };
  }
  SECTION("numbers near the ends of the range") {
    test.input = [](std::int64_t, std::int64_t, float x) { return 1e-30F * x; };
    test.weight = [](std::int64_t, std::int64_t, float x) { return 1e25F * x; };
  }
  SECTION("subnormal numbers") {
    test.input = [](std::int64_t, std::int64_t, float x) { return 1e-39F * x; };
  }
  SECTION("infinities and NaN") {
    const float infinity = std::numeric_limits<float>::infinity();
    test.input = [=](std::int64_t row, std::int64_t k, float x) {
      return row == 5 && k == 9 ? infinity : row == 40 && k == 64 ? std::nanf("") : x;
    };
    test.weight = [=](std::int64_t row, std::int64_t k, float x) {
      return row == 3 && k == 200 ? -infinity : row == 8 && k == 9 ? 0.F : x;
    };
  }
  SECTION("zeros") {
    test.input = [](std::int64_t row, std::int64_t k, float x) { return row % 3 == 0 || x < 0.F || k < 40 ? 0.F : x; };
  }
  expect_pass(test);
}

TEST_CASE("sums that are hard on float32", "[linear]") {
  SECTION("of positive numbers") {
    LinearCase test = sized(64, 65536, 48);
    test.input = test.weight = [](std::int64_t, std::int64_t, float x) { return std::abs(x); };
    expect_pass(test);
  }
  SECTION("that cancel") {
    LinearCase test = sized(70, 1024, 90);
    test.has_bias = false;
    test.plain_errors = 2.;
    test.input = [](std::int64_t, std::int64_t k, float x) { return k % 2 == 0 ? 1000.F + 0.001F * x : -1000.F; };
    test.weight = [](std::int64_t, std::int64_t, float x) { return 1.F + 1e-4F * x; };
    expect_pass(test);
  }
}

TEST_CASE("a graph of linear layers gives the same bits", "[linear]") {
  PlacedLinear placed(sized(300, 400, 500));
  for (const char* kernel : placed.kernels()) {
    INFO(kernel);
    const Matrix direct = placed.run(kernel);
    const Buffer workspace(placed.workspace_bytes(kernel));
    Stream stream;
    placed.poison();
    stream.run_as_graph(3, kernel, [&] {
      placed.start(kernel, workspace, stream);
      placed.start(kernel, workspace, stream);
    });
    CHECK(bytes_of(placed.output()) == bytes_of(direct));
  }
}

}  // namespace flashconvert::kernels::testing
