// Calls flashconvert::kernels_used through the dispatcher: the operator library is loaded at run time, if at all.
#include "verify/kernels_used.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace flashconvert::verify {

namespace {

std::vector<std::string> ask(bool clear) {
  const auto op = c10::Dispatcher::singleton().findSchema({"flashconvert::kernels_used", ""});
  if (!op) return {};
  torch::jit::Stack stack{clear};
  op->callBoxed(&stack);
  std::vector<std::string> names;
  for (const c10::IValue& name : stack.back().toListRef()) names.push_back(name.toStringRef());
  return names;
}

}  // namespace

std::vector<std::string> kernels_used() { return ask(/*clear=*/false); }

void forget_kernels_used() { ask(/*clear=*/true); }

}  // namespace flashconvert::verify
