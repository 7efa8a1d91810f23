// Counts of heads and elements beyond 16 and 32 bits.
#include <cstdio>

#include "device.h"
#include "expect.h"
#include "number_formats.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

// The largest case's operands and output, with room for what the driver and other programs hold.
bool fits(const AttentionCase& test) {
  const std::int64_t rows = 2 * test.heads * test.query_length + 2 * test.key_heads * test.key_length;
  const auto needed = static_cast<std::size_t>(test.batch * rows * test.head_dim * element_bytes(test.dtype));
  const std::size_t available = free_device_bytes();
  if (needed + (std::size_t{1} << 30) <= available) return true;
  std::printf("skipped, %.0f GB of %.0f GB free: %s\n", static_cast<double>(needed) / 1e9,
              static_cast<double>(available) / 1e9, describe(test).c_str());
  return false;
}

void expect_pass_if_it_fits(AttentionCase test) {
  test.period = 1'000'003;
  if (fits(test)) expect_pass(test);
}

}  // namespace

TEST_CASE("more heads and batches than a grid's second dimension holds", "[large]") {
  for (const DType dtype : kDTypes) {
    for (const auto& [batch, heads] : {std::pair{8200, 8}, {65537, 1}, {1, 65537}}) {
      AttentionCase test = basic(dtype, 2, 3, 16, 16);
      test.batch = batch;
      test.heads = test.key_heads = heads;
      expect_pass(test);
      test.query_length = test.key_length = 70;
      test.period = 1'000'003;
      test.sampled_rows = 2003;
      expect_pass(causal(test));
    }
  }
}

TEST_CASE("more than 2^31 elements", "[large]") {
  for (const DType dtype : {DType::kFloat16, DType::kFloat32}) {
    AttentionCase queries = basic(dtype, 1'050'000, 64, 128, 128);
    queries.batch = 1;
    queries.heads = queries.key_heads = 16;
    queries.sampled_rows = 1003;
    expect_pass_if_it_fits(queries);

    AttentionCase keys = basic(dtype, 16, 270'000, 128, 128);
    keys.batch = 1;
    keys.heads = keys.key_heads = 64;
    keys.logit_size = 2;
    keys.sampled_rows = 24;
    expect_pass_if_it_fits(keys);

    AttentionCase batches = basic(dtype, 512, 512, 128, 128);
    batches.batch = 2200;
    batches.heads = batches.key_heads = 16;
    batches.sampled_rows = 1003;
    expect_pass_if_it_fits(batches);
  }
}

}  // namespace flashconvert::kernels::testing
