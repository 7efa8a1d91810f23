// Which kernels the operator has run in this process, for reports: what really ran, on whatever thread or device.
#pragma once

#include <string>
#include <vector>

namespace flashconvert::runtime {

// `name` has static storage.
void record_kernel(const char* name);

// The distinct names since the start or the last `clear`, sorted.
std::vector<std::string> recorded_kernels(bool clear);

}  // namespace flashconvert::runtime
