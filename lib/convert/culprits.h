// When parity fails: which sites, folded weights and linear layers are behind it? Each is tried alone on a fresh copy.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "convert/convert.h"
#include "convert/transform.h"

namespace flashconvert {

struct Culprits {
  std::set<std::string> attention;  // module paths
  std::set<std::string> weights;
  std::set<std::string> linear;
  bool empty() const { return attention.empty() && weights.empty() && linear.empty(); }
};

// Converts the checkpoint again and again, each time with one module's sites or one folded weight alone, and compares;
// linear layers together first, and one by one where that fails.
// Where no single change fails alone, every change is a culprit: their sum is what fails.
Culprits find_culprits(const checkpoint::Source& source, const Transformed& whole, const verify::Verifier& verifier,
                       const ConvertOptions& options, const Progress& progress);

}  // namespace flashconvert
