// TorchScript functions that have a graph, as methods and free functions have and built-in ones have not.
#pragma once

#include <torch/csrc/jit/api/function_impl.h>

namespace flashconvert {

// `function` with its graph compiled, which is put off until somebody asks; null where it has none, or is null itself.
inline torch::jit::GraphFunction* function_with_graph(torch::jit::Function* function) {
  auto* with_graph = function != nullptr ? torch::jit::tryToGraphFunction(*function) : nullptr;
  if (with_graph != nullptr) with_graph->ensure_defined();
  return with_graph;
}

}  // namespace flashconvert
