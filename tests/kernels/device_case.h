// A case on the device, which every kernel that takes it can run.
#pragma once

#include <string>
#include <vector>

#include "attention_case.h"
#include "device.h"

namespace flashconvert::kernels::testing {

struct DeviceResult {
  std::vector<double> values;  // the compared rows one after the other
  std::string damage;          // empty, or what was written that should not have been
};

class DeviceCase {
public:
  // Both must outlive it.
  DeviceCase(const AttentionCase& test, const HostProblem& host);

  // The names of the kernels that take the case, the preferred one first. The environment variable
  // FLASHCONVERT_TEST_KERNELS leaves some: "preferred" the first, any other text those whose names hold it.
  const std::vector<const char*>& kernels() const { return kernels_; }

  // Enqueues one launch.
  void start(const char* kernel, const Stream& stream);

  // Runs the kernel into a poisoned output.
  DeviceResult run(const char* kernel);

  // The output as it is, and poisoned.
  std::vector<unsigned char> output() const { return output_.download(); }
  void poison_output() { output_.poison(); }

  std::string describe_with(const char* kernel) const { return describe(test_) + ", " + kernel; }

private:
  DeviceResult read() const;
  std::string damage_between_rows(const std::vector<unsigned char>& bytes) const;
  std::int64_t output_place(std::int64_t row) const;

  const AttentionCase& test_;
  const HostProblem& host_;
  std::vector<std::int64_t> rows_;
  Buffer query_, key_, value_, bias_, output_;
  AttentionProblem problem_;
  std::vector<const char*> kernels_;
  Buffer workspace_;
};

}  // namespace flashconvert::kernels::testing
