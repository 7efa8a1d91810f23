// Copies operands to the device, launches, and reads the output: see device_case.h.
#include "device_case.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "dispatch.h"
#include "number_formats.h"

namespace flashconvert::kernels::testing {
namespace {

std::size_t device_bytes(const Operand& operand, DType dtype) {
  return operand.values.empty() ? operand.bytes.size()
                                : static_cast<std::size_t>(operand.elements * element_bytes(dtype));
}

// What the kernel needs that needs most.
std::size_t workspace_size(const AttentionProblem& problem, const std::vector<const char*>& kernels) {
  std::size_t most = 0;
  for (const char* kernel : kernels) {
    most = std::max(most, workspace_bytes_with(kernel, problem, device_compute_capability()));
  }
  return most;
}

std::vector<const char*> kernels_of(const AttentionProblem& problem) {
  std::vector<const char*> kernels = kernels_that_take(problem, device_compute_capability());
  if (kernels.empty()) throw std::runtime_error("no kernel takes this");
  const char* chosen = std::getenv("FLASHCONVERT_TEST_KERNELS");
  const std::string filter = chosen == nullptr ? "" : chosen;
  if (filter == "preferred") return {kernels.front()};
  const auto left_out = [&](const char* name) { return std::string(name).find(filter) == std::string::npos; };
  kernels.erase(std::remove_if(kernels.begin(), kernels.end(), left_out), kernels.end());
  return kernels;
}

AttentionProblem placed(const HostProblem& host, const Buffer& query, const Buffer& key, const Buffer& value,
                        const Buffer& bias, const Buffer& output) {
  AttentionProblem problem = host.problem;
  const std::int64_t size = element_bytes(problem.dtype);
  problem.query.data = query.at(host.query.first * size);
  problem.key.data = key.at(host.key.first * size);
  problem.value.data = value.at(host.value.first * size);
  if (problem.bias.kind != BiasKind::kNone) problem.bias.data = bias.at(0);
  problem.output = output.at(host.output_first * size);
  return problem;
}

}  // namespace

DeviceCase::DeviceCase(const AttentionCase& test, const HostProblem& host)
    : test_(test),
      host_(host),
      rows_(compared_rows(test)),
      query_(host.query.bytes, device_bytes(host.query, test.dtype)),
      key_(host.key.bytes, device_bytes(host.key, test.dtype)),
      value_(host.value.bytes, device_bytes(host.value, test.dtype)),
      bias_(host.bias.bytes),
      output_(static_cast<std::size_t>(host.output_elements * element_bytes(test.dtype))),
      problem_(placed(host, query_, key_, value_, bias_, output_)),
      kernels_(kernels_of(problem_)),
      workspace_(workspace_size(problem_, kernels_)) {}

void DeviceCase::start(const char* kernel, const Stream& stream) {
  const int code = attention_forward_with(kernel, problem_, workspace_.at(0), stream.handle());
  if (code != 0) throw std::runtime_error(std::string(kernel) + ": " + error_string(code));
}

DeviceResult DeviceCase::run(const char* kernel) {
  const Stream stream;
  output_.poison();
  start(kernel, stream);
  stream.wait(describe_with(kernel));
  return read();
}

std::int64_t DeviceCase::output_place(std::int64_t row) const {
  const std::int64_t head = row / test_.query_length;
  return host_.output_first + head / test_.heads * problem_.output_batch_stride +
         head % test_.heads * problem_.output_head_stride + row % test_.query_length * problem_.output_row_stride;
}

DeviceResult DeviceCase::read() const {
  DeviceResult result;
  const bool sampled = test_.sampled_rows != 0;
  const std::vector<unsigned char> bytes = sampled ? std::vector<unsigned char>() : output_.download();
  const std::int64_t size = element_bytes(test_.dtype);
  result.values.reserve(rows_.size() * static_cast<std::size_t>(test_.value_dim));
  for (const std::int64_t row : rows_) {
    const std::int64_t place = output_place(row);
    const std::vector<unsigned char> one =
        sampled ? output_.download(place * size, static_cast<std::size_t>(test_.value_dim * size))
                : std::vector<unsigned char>();
    for (std::int64_t d = 0; d < test_.value_dim; ++d) {
      result.values.push_back(sampled ? load_element(test_.dtype, one.data(), d)
                                      : load_element(test_.dtype, bytes.data(), place + d));
    }
  }
  if (!sampled) result.damage = damage_between_rows(bytes);
  if (!output_.guards_are_intact()) result.damage = "written before or after the output";
  if (!workspace_.guards_are_intact()) result.damage = "written before or after the workspace";
  return result;
}

std::string DeviceCase::damage_between_rows(const std::vector<unsigned char>& bytes) const {
  const std::int64_t size = element_bytes(test_.dtype);
  std::vector<char> expected(static_cast<std::size_t>(host_.output_elements));
  for (const std::int64_t row : rows_) {
    std::fill_n(expected.begin() + output_place(row), test_.value_dim, char{1});
  }
  for (std::int64_t place = 0; place < host_.output_elements; ++place) {
    if (expected[static_cast<std::size_t>(place)] != 0) continue;
    const auto first = bytes.begin() + place * size;
    if (!std::all_of(first, first + size, [](unsigned char byte) { return byte == 0xff; })) {
      return "written between the output's rows, at element " + std::to_string(place);
    }
  }
  return "";
}

}  // namespace flashconvert::kernels::testing
