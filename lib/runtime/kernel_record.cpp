// See kernel_record.h.
#include "kernel_record.h"

#include <mutex>
#include <set>

namespace flashconvert::runtime {
namespace {

struct Record {
  std::mutex mutex;
  std::set<std::string, std::less<>> names;
};

// Never destroyed: a server's threads may still run the operator while the process exits.
Record& record() {
  static auto* const instance = new Record;
  return *instance;
}

}  // namespace

void record_kernel(const char* name) {
  Record& kernels = record();
  const std::lock_guard<std::mutex> lock(kernels.mutex);
  if (kernels.names.find(name) == kernels.names.end()) {
    kernels.names.emplace(name);
  }
}

std::vector<std::string> recorded_kernels(bool clear) {
  Record& kernels = record();
  const std::lock_guard<std::mutex> lock(kernels.mutex);
  std::vector<std::string> names(kernels.names.begin(), kernels.names.end());
  if (clear) {
    kernels.names.clear();
  }
  return names;
}

}  // namespace flashconvert::runtime
