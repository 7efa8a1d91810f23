// Timing: the original and the converted model side by side, interleaved so that clocks and caches treat both alike.
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/error.h"
#include "verify/device.h"
#include "verify/kernels_used.h"
#include "verify/placed_module.h"
#include "verify/verify.h"

namespace flashconvert::verify {

namespace {

constexpr int kWarmUpCalls = 4;  // torch's executor profiles the first calls and optimises the graph after them
constexpr int kFewestRuns = 5;
constexpr int kMostRuns = 200;
constexpr double kSeconds = 4;  // of timed calls, both models together

class Subject {
public:
  Subject(const torch::jit::Module& module, const Case& test, c10::Device device)
      : module_(module, {{device}}),
        method_(test.method),
        arguments_(module_.place_arguments(test.arguments)),
        device_(device) {}

  // One call, in milliseconds, from an idle device to an idle device.
  double time_once() {
    using Clock = std::chrono::steady_clock;
    synchronize(device_);
    const auto start = Clock::now();
    const c10::IValue output = module_.call(method_, arguments_);
    synchronize(device_);
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  }

  // Returns the time of the last call, which is the first to mean something.
  double warm_up() {
    double last = 0;
    for (int i = 0; i < kWarmUpCalls; ++i) last = time_once();
    return last;
  }

private:
  PlacedModule module_;
  std::string method_;
  std::vector<c10::IValue> arguments_;
  c10::Device device_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

const Case& given_case(const std::vector<Case>& cases) {
  const auto given = std::find_if(cases.begin(), cases.end(), [](const Case& test) { return !test.derived; });
  if (given == cases.end())
    throw Error(ErrorKind::kUsage, "there are no inputs to time with", "Give some with --inputs.");
  return *given;
}

report::Bench bench_on(c10::Device device, const torch::jit::Module& original, const torch::jit::Module& converted,
                       const Case& test) {
  Subject before(original, test, device);
  Subject after(converted, test, device);
  const double warm = before.warm_up();

  report::Bench result;
  result.device = describe_device(device);
  forget_kernels_used();
  const double both_ms = warm + after.warm_up();
  result.kernels = kernels_used();
  result.runs = std::clamp(static_cast<int>(kSeconds * 1000 / std::max(both_ms, 1e-3)), kFewestRuns, kMostRuns);

  std::vector<double> original_ms;
  std::vector<double> converted_ms;
  for (int run = 0; run < result.runs; ++run) {
    original_ms.push_back(before.time_once());
    converted_ms.push_back(after.time_once());
  }
  result.original_ms = median(std::move(original_ms));
  result.converted_ms = median(std::move(converted_ms));
  return result;
}

}  // namespace

report::Bench bench_modules(torch::jit::Module& original, torch::jit::Module& converted, const std::vector<Case>& cases,
                            const VerifyOptions& options) {
  const Case& test = given_case(cases);
  const c10::Device device = choose_device(options.device);
  try {
    return bench_on(device, original, converted, test);
  } catch (const std::exception&) {  // as for parity: `auto` falls back on the CPU
    if (options.device != "auto" || device.is_cpu()) throw;
  }
  return bench_on(c10::kCPU, original, converted, test);
}

}  // namespace flashconvert::verify
