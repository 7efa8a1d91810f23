// Which kernel takes a linear layer, and what memory it asks for: no device needed.
#include <cstdint>
#include <string>
#include <vector>

#include "flashconvert/kernels/linear.h"
#include "linear/dispatch.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr int kHopper = 90;

// Where operands are said to be: only the address counts.
alignas(256) float memory[256];

LinearProblem problem(std::int64_t rows, std::int64_t in_features, std::int64_t out_features) {
  LinearProblem problem;
  problem.rows = rows;
  problem.in_features = in_features;
  problem.out_features = out_features;
  problem.input = {memory, in_features, 1};
  problem.weight = {memory + 64, in_features, 1};
  problem.output = memory + 128;
  problem.output_row_stride = out_features;
  return problem;
}

std::string selected(const LinearProblem& problem) {
  const char* const name = select_kernel(problem, kHopper);
  return name == nullptr ? "" : name;
}

std::size_t split_bytes(std::int64_t rows, std::int64_t features) {
  return static_cast<std::size_t>(rows * ((features + 31) / 32 * 128));
}

}  // namespace

TEST_CASE("linear layers have kernels on Hopper alone", "[selection]") {
  CHECK(selected(problem(16384, 768, 3072)) == "sm90-f16x3-linear-128x192");
  CHECK(selected(problem(128, 768, 3072)) == "sm90-f16x3-linear-64x64");
  for (const int other : {80, 86, 89, 100, 120}) CHECK(select_kernel(problem(16384, 768, 3072), other) == nullptr);
}

TEST_CASE("linear layers that are none have no kernel", "[selection]") {
  for (const auto& empty : {problem(0, 8, 8), problem(8, 0, 8), problem(8, 8, 0)}) CHECK(selected(empty).empty());
  CHECK(selected(problem(std::int64_t{1} << 31, 8, 8)).empty());
  LinearProblem backwards = problem(8, 8, 8);
  backwards.input.row_stride = -8;
  CHECK(selected(backwards).empty());
}

TEST_CASE("the smaller operand is split ahead", "[selection]") {
  const std::size_t weight = workspace_bytes(problem(16384, 768, 3072), kHopper);
  CHECK(weight >= split_bytes(3072, 768));
  CHECK(weight < split_bytes(3072, 768) + 32768);
  const std::size_t input = workspace_bytes(problem(128, 768, 3072), kHopper);
  CHECK(input >= split_bytes(128, 768));
  CHECK(input < split_bytes(128, 768) + 4096);
}

TEST_CASE("what the copy engine cannot read is packed", "[selection]") {
  const LinearProblem aligned = problem(16384, 768, 768);
  LinearProblem unaligned = aligned;
  unaligned.input.data += 1;
  LinearProblem odd_stride = aligned;
  odd_stride.input.row_stride = 769;
  LinearProblem by_columns = aligned;
  by_columns.input = {aligned.input.data, 1, 16384};
  const std::size_t packed = std::size_t{16384} * 768 * 4;
  for (const LinearProblem& other : {unaligned, odd_stride, by_columns}) {
    // Or the weight, which is aligned, is on the left, and the input is split ahead.
    CHECK(workspace_bytes(other, kHopper) >= packed);
  }
}

TEST_CASE("every kernel for linear layers takes every one of them", "[selection]") {
  const std::vector<const char*> names = kernels_that_take(problem(100, 33, 7), kHopper);
  CHECK(names.size() == 6);
  for (const char* name : names) CHECK(workspace_bytes_with(name, problem(100, 33, 7), kHopper) > 0);
}

}  // namespace flashconvert::kernels::testing
