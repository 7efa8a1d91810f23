// A nested output as a flat list of named values: output, output[0], output['logits'], output.logits.
#pragma once

#include <ATen/core/ivalue.h>

#include <string>
#include <vector>

namespace flashconvert::verify {

struct Leaf {
  std::string name;
  c10::IValue value;  // a tensor, number, string, None or whatever else holds no further values
};

// The leaves of tuples, lists, dicts and objects, in order. An empty container is a leaf.
std::vector<Leaf> flatten(const c10::IValue& value, const std::string& name = "output");

// The containers around the leaves: "{logits, (·, ·)}". Two values with the same leaves but other containers differ
// here.
std::string structure_of(const c10::IValue& value);

}  // namespace flashconvert::verify
