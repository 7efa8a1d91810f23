// Seeds LibTorch's generator once, before any test: it starts from another number in every process otherwise. What a
// test draws still depends on the tests that ran before it.
#include <ATen/ATen.h>

namespace {

const bool kSeeded = (at::manual_seed(0), true);

}  // namespace
