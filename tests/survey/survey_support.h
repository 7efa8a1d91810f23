// What the survey's tests have in common: a module from the body of its forward, and what a survey finds in it.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <string>

#include "support/catch.h"
#include "survey/survey.h"

namespace flashconvert::test {

// forward(self, q, k, v, m) with this body, whose lines are not indented.
inline void define_forward(torch::jit::Module& module, const std::string& body, const std::string& result = "Tensor") {
  std::string indented;
  for (std::size_t start = 0; start < body.size();) {
    const auto end = std::min(body.find('\n', start), body.size());
    indented += "  " + body.substr(start, end - start) + "\n";
    start = end + 1;
  }
  module.define("def forward(self, q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> " + result + ":\n" + indented);
}

// Its sites refer to graphs that it holds.
inline survey::Survey survey_of(const torch::jit::Module& module, survey::Backend backend = survey::Backend::kFlash,
                                const survey::AssumedMasks& masks = {}) {
  return survey::survey_attention(
      ModuleIndex(module), backend, [](const std::string&) { return true; }, masks);
}

inline const survey::Site& only_site(const survey::Survey& survey) {
  REQUIRE(survey.methods.size() == 1);
  REQUIRE(survey.methods[0].sites.size() == 1);
  return survey.methods[0].sites[0];
}

}  // namespace flashconvert::test
