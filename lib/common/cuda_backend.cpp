#include "common/cuda_backend.h"

#include <dlfcn.h>

#include <atomic>

namespace flashconvert {

bool load_cuda_backend() {
  static std::atomic<bool> attempted = false;
  if (attempted.exchange(true)) return false;
  // By name alone, so that it is found where libtorch_cpu was. For all to see, as if it were linked: libraries of
  // operators need not name it as their own dependency.
  return ::dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_GLOBAL) != nullptr;
}

void load_cuda_backend_for_devices() {
  // The driver stays loaded: the backend uses it.
  if (::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr) load_cuda_backend();
}

}  // namespace flashconvert
