// One-line descriptions of torch's exceptions and values.
#include "verify/messages.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <sstream>

#include "verify/dtypes.h"

namespace flashconvert::verify {

namespace {

// "RuntimeError: mat1 and …" -> "mat1 and …"; nothing when the line does not start with the name of an error.
std::string without_error_name(const std::string& line) {
  const auto colon = line.find(": ");
  if (colon == std::string::npos || colon == 0) return "";
  const std::string head = line.substr(0, colon);
  const bool is_name =
      std::all_of(head.begin(), head.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
  const bool is_error = head.find("Error") != std::string::npos || head.find("Exception") != std::string::npos;
  return is_name && is_error ? line.substr(colon + 2) : "";
}

template <typename Range>
std::string join_described(const Range& values, std::size_t limit) {
  std::string text;
  std::size_t count = 0;
  for (const c10::IValue& value : values) {
    if (count++ == limit) return text + ", … " + std::to_string(values.size() - limit) + " more";
    text += (count > 1 ? ", " : "") + describe_value(value);
  }
  return text;
}

constexpr std::size_t kDescribedArguments = 6;

}  // namespace

std::string brief_message(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
  std::istringstream lines(text);
  std::string first;
  std::string last_error;
  for (std::string line; std::getline(lines, line);) {
    if (first.empty()) first = line;
    const std::string message = without_error_name(line);
    if (!message.empty()) last_error = message;
  }
  return last_error.empty() ? first : last_error;
}

std::string format_sizes(c10::IntArrayRef sizes) {
  std::string text = "[";
  for (std::size_t i = 0; i < sizes.size(); ++i) text += (i ? ", " : "") + std::to_string(sizes[i]);
  return text + "]";
}

std::string describe_value(const c10::IValue& value) {
  if (value.isTensor()) {
    const at::Tensor& tensor = value.toTensor();
    if (!tensor.defined()) return "an undefined tensor";
    return dtype_name(tensor.scalar_type()) + (tensor.is_sparse() ? " sparse" : format_sizes(tensor.sizes()));
  }
  if (value.isNone()) return "none";
  if (value.isBool()) return value.toBool() ? "true" : "false";
  if (value.isInt()) return std::to_string(value.toInt());
  if (value.isDouble()) {
    std::ostringstream text;
    text << value.toDouble();
    return text.str();
  }
  if (value.isString()) return '"' + value.toStringRef() + '"';
  if (value.isTuple()) return "(" + join_described(value.toTupleRef().elements().vec(), kDescribedArguments) + ")";
  if (value.isList()) return "[" + join_described(value.toListRef().vec(), kDescribedArguments) + "]";
  if (value.isGenericDict()) {
    std::string text;
    for (const auto& entry : value.toGenericDict()) {
      text += (text.empty() ? "" : ", ") + describe_value(entry.key()) + ": " + describe_value(entry.value());
    }
    return "{" + text + "}";
  }
  return value.tagKind();
}

std::string describe_arguments(const std::vector<c10::IValue>& arguments) {
  return arguments.empty() ? "no arguments" : join_described(arguments, kDescribedArguments);
}

}  // namespace flashconvert::verify
