// Loading the libraries that define a checkpoint's custom operators.
#include <dlfcn.h>
#include <torch/version.h>

#include "checkpoint/checkpoint.h"
#include "common/cuda_backend.h"
#include "common/error.h"

namespace flashconvert::checkpoint {

void load_operator_library(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    throw Error(ErrorKind::kUsage, path.string() + ": no such operator library",
                "Check the path given to --load-library.");
  }
  load_cuda_backend();  // the library may use it
  // An absolute path: dlopen looks for a bare name in the system's folders, not in the current one.
  const std::string absolute = std::filesystem::absolute(path).string();
  try {
    if (::dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return;
  } catch (const c10::Error& failure) {  // thrown by the library's own registrations, for instance by a duplicate one
    throw Error(ErrorKind::kUsage,
                path.string() + ": its operators cannot be registered: " + failure.what_without_backtrace());
  }
  const char* reason = ::dlerror();
  throw Error(ErrorKind::kUsage,
              path.string() + ": cannot be loaded: " + (reason == nullptr ? "no reason given" : reason),
              "The library must be built for this program's LibTorch (" TORCH_VERSION ") or on torch's stable ABI.");
}

}  // namespace flashconvert::checkpoint
