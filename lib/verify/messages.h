// What torch throws and how values look, in words for a message or a report.
#pragma once

#include <ATen/core/ivalue.h>

#include <exception>
#include <string>
#include <vector>

namespace flashconvert::verify {

// The one line of an exception that says what is wrong: no C++ backtrace, no TorchScript traceback.
std::string brief_message(const std::exception& error);

// "[2, 128]"
std::string format_sizes(c10::IntArrayRef sizes);

// "float32[2, 128]"; other values as what they are: "5", "true", "none", "(float32[2], 3)", "a list of 4 values".
std::string describe_value(const c10::IValue& value);

// The arguments of a case on one line, shortened after the sixth.
std::string describe_arguments(const std::vector<c10::IValue>& arguments);

}  // namespace flashconvert::verify
