// Without a CUDA device the GPU tests end before they start, with the exit code that ctest counts as skipped.
#include <cstdlib>

#include "device.h"
#include "support/catch.h"

namespace flashconvert::kernels::testing {
namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE in CMakeLists.txt

const bool checked = [] {
  if (!has_device()) std::exit(kSkipped);
  return true;
}();

}  // namespace
}  // namespace flashconvert::kernels::testing
