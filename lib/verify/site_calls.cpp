// The operator that shows a site (site_calls.h).
#include "verify/site_calls.h"

#include <torch/csrc/jit/runtime/custom_operator.h>

#include <mutex>
#include <utility>

namespace flashconvert::verify {

namespace {

constexpr const char* kOperator = "flashconvert_verify::site";

std::mutex watch_mutex;  // a graph may run parts of itself on other threads (prim::fork)
std::function<void(const SiteCall&)> watcher;

void show(torch::jit::Stack& stack) {
  at::Tensor converted = torch::jit::pop(stack).toTensor();
  at::Tensor original = torch::jit::pop(stack).toTensor();
  std::string name = torch::jit::pop(stack).toStringRef();
  const c10::IValue module = torch::jit::pop(stack);
  {
    const std::lock_guard<std::mutex> lock(watch_mutex);
    if (watcher) watcher({&module.toObjectRef(), std::move(name), original, std::move(converted)});
  }
  stack.emplace_back(std::move(original));
}

// Conservative: no pass may merge, move or drop a call, or take its result for a new tensor.
const torch::jit::RegisterOperators registration({torch::jit::Operator(
    std::string(kOperator) + "(Any module, str name, Tensor original, Tensor converted) -> Tensor", show,
    c10::AliasAnalysisKind::CONSERVATIVE)});

}  // namespace

void show_site(torch::jit::Value* self, const std::string& name, torch::jit::Value* original,
               torch::jit::Value* converted) {
  torch::jit::Graph& graph = *self->owningGraph();
  torch::jit::WithInsertPoint after(original->node()->next());
  torch::jit::Value* shown = graph.insert(c10::Symbol::fromQualString(kOperator), {self, name, original, converted});
  original->replaceAllUsesWith(shown);
  shown->node()->replaceInput(2, original);
}

SiteWatch::SiteWatch(std::function<void(const SiteCall&)> see) {
  const std::lock_guard<std::mutex> lock(watch_mutex);
  TORCH_CHECK(!watcher, "sites are being watched already");
  watcher = std::move(see);
}

SiteWatch::~SiteWatch() {
  const std::lock_guard<std::mutex> lock(watch_mutex);
  watcher = nullptr;
}

}  // namespace flashconvert::verify
