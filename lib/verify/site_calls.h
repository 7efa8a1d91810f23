// How a module shows what its attention sites compute while it runs: an operator in its graphs that takes both forms of
// a site and returns the first. It exists in this program alone and never reaches a file.
//
//   flashconvert_verify::site(Any module, str name, Tensor original, Tensor converted) -> Tensor
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <string>

namespace flashconvert::verify {

// One call of the operator.
struct SiteCall {
  const c10::ivalue::Object* module =
      nullptr;  // instances of a scripted type share their graphs: this tells them apart
  std::string name;
  at::Tensor original;
  at::Tensor converted;
};

// Makes the method's graph show a site: what used `original` uses the operator's result from now on. `self` is the
// graph's module.
void show_site(torch::jit::Value* self, const std::string& name, torch::jit::Value* original,
               torch::jit::Value* converted);

// While it lives, `see` is called for every site that runs, on whatever thread; one at a time in the process.
class SiteWatch {
public:
  explicit SiteWatch(std::function<void(const SiteCall&)> see);
  ~SiteWatch();
  SiteWatch(const SiteWatch&) = delete;
  SiteWatch& operator=(const SiteWatch&) = delete;
};

}  // namespace flashconvert::verify
