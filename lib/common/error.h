// The errors that reach a user: what went wrong, on what, and what to do. app/ maps the kind to an exit code.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace flashconvert {

enum class ErrorKind {
  kUsage,   // exit 2: wrong options, input specs or files of inputs
  kInput,   // exit 4: INPUT cannot be read or is not a TorchScript checkpoint
  kParity,  // exit 5
  kOutput,  // exit 6: OUTPUT cannot be written
  kLimit,   // exit 7: out of memory or time
};

// `what()` is "message" or "message\n  advice": one clear message, then what to do.
class Error : public std::runtime_error {
public:
  Error(ErrorKind kind, const std::string& message, const std::string& advice = "")
      : std::runtime_error(advice.empty() ? message : message + "\n  " + advice), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

private:
  ErrorKind kind_;
};

}  // namespace flashconvert
