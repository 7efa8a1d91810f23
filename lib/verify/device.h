// Where verification runs.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace flashconvert::verify {

// The device of --device: auto (CUDA where there is one), cpu, cuda or cuda:N. Throws Error(kUsage) for anything else
// and for a device that this machine does not have.
c10::Device choose_device(const std::string& option);

// "cpu", "cuda:0 (NVIDIA H200)"
std::string describe_device(c10::Device device);

// Waits until everything sent to the device has run; nothing to do on the CPU.
void synchronize(c10::Device device);

}  // namespace flashconvert::verify
