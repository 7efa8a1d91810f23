// A custom operator that a checkpoint may need (--load-library), and that is not a function: each call adds more.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <atomic>

namespace {

at::Tensor drift(const at::Tensor& x) {
  static std::atomic<int> calls{0};
  return x + ++calls;
}

}  // namespace

TORCH_LIBRARY(flashconvert_test, m) { m.def("drift(Tensor x) -> Tensor"); }
TORCH_LIBRARY_IMPL(flashconvert_test, CompositeExplicitAutograd, m) { m.impl("drift", &drift); }
