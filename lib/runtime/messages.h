// What messages about bad arguments show of lists, tensors and devices. Formatted only when a check fails.
#pragma once

#include <ostream>
#include <sstream>
#include <stdexcept>

#include "aten.h"

namespace flashconvert::runtime {

struct Values {
  const Sizes& values;
};

struct ShapeOf {
  const Tensor& tensor;
};

struct DeviceOf {
  const Tensor& tensor;
};

std::ostream& operator<<(std::ostream& out, const Values& list);
std::ostream& operator<<(std::ostream& out, const ShapeOf& shape);
std::ostream& operator<<(std::ostream& out, const DeviceOf& device);

const char* name_of(ScalarType type);

// Throws std::runtime_error with the parts as its message, after the operator's name, where the condition does not
// hold.
template <typename... Parts>
void check_that(bool condition, const char* operator_name, const Parts&... parts) {
  if (!condition) {
    std::ostringstream message;
    message << "flashconvert::" << operator_name << ": ";
    (message << ... << parts);
    throw std::runtime_error(message.str());
  }
}

}  // namespace flashconvert::runtime
