// A method's graph made to run on another device or in another floating dtype than the one it was written for.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>
#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <optional>

namespace flashconvert::verify {

struct Target {
  c10::Device device{c10::kCPU};
  std::optional<c10::ScalarType> floating;  // unset: the dtypes stay
};

// A copy of `graph` with its calls inlined in which constant devices are the target's and, where `floating` is set,
// constant floating dtypes (casts, factories, the dtype of a softmax) and floating constant tensors are of that dtype.
// Constants alone decide: what the graph computes from its inputs follows them by itself. Null when nothing is to
// change.
std::shared_ptr<torch::jit::Graph> retarget(const torch::jit::Graph& graph, const Target& target);

}  // namespace flashconvert::verify
