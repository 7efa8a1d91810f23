// Runs a case's problem on the GPU.
#pragma once

#include <vector>

#include "attention_case.h"

namespace flashconvert::kernels::testing {

// Whether there is a CUDA device; the reason why not is printed once.
bool has_device();
int device_compute_capability();

struct DeviceResult {
  std::vector<double> values;        // [B, H, Lq, Dv]
  std::vector<unsigned char> bytes;  // the whole output buffer, for bit-for-bit comparisons
  bool wrote_outside = false;        // something between the rows changed
};

// How the kernel is started.
enum class Launch {
  kDirect,
  kGraph,       // captured into a CUDA graph, launched twice
  kTwoStreams,  // two launches at once on two streams; the second one's output is returned
};

DeviceResult run_on_device(const AttentionCase& test, const HostProblem& host, Launch launch = Launch::kDirect);

}  // namespace flashconvert::kernels::testing
