// Runs cases and keeps count of them: see expect.h.
#include "expect.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "compare.h"
#include "device_case.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

// How often each kernel ran, and how near it came to the allowed error; printed when the program ends.
class Tally {
public:
  ~Tally() {
    for (const auto& [kernel, line] : lines_) {
      std::printf("%-36s %5d cases, at most %3.0f %% of the allowed largest error, %3.0f %% of the mean\n",
                  kernel.c_str(), line.cases, 100 * line.largest_share, 100 * line.mean_share);
    }
  }

  void add(const char* kernel, const Verdict& verdict) {
    Line& line = lines_[kernel];
    ++line.cases;
    line.largest_share = std::max(line.largest_share, verdict.largest_share);
    line.mean_share = std::max(line.mean_share, verdict.mean_share);
  }

private:
  struct Line {
    int cases = 0;
    double largest_share = 0;
    double mean_share = 0;
  };
  std::map<std::string, Line> lines_;
};

Tally tally;

}  // namespace

AttentionCase basic(DType dtype, std::int64_t query_length, std::int64_t key_length, std::int64_t head_dim,
                    std::int64_t value_dim) {
  AttentionCase test;
  test.dtype = dtype;
  test.query_length = query_length;
  test.key_length = key_length;
  test.head_dim = head_dim;
  test.value_dim = value_dim;
  test.scale = 1 / std::sqrt(static_cast<double>(head_dim));
  return test;
}

AttentionCase causal(AttentionCase test) {
  test.window_right = 0;
  return test;
}

void expect_pass(const AttentionCase& test) {
  INFO(describe(test));
  const HostProblem host = make_problem(test);
  DeviceCase device(test, host);
  if (device.kernels().empty()) return;  // none of those asked for: spare the reference
  const Expected expected = make_expected(test, host);
  const Judge judge(test, expected);
  for (const char* kernel : device.kernels()) {
    INFO(kernel);
    const DeviceResult result = device.run(kernel);
    const Verdict verdict = judge(result.values);
    CHECK(verdict.fault == "");
    CHECK(result.damage == "");
    tally.add(kernel, verdict);
  }
}

}  // namespace flashconvert::kernels::testing
