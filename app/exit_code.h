// The exit codes: a contract with scripts (docs/user-guide.md).
#pragma once

#include "common/error.h"

namespace flashconvert::app {

enum ExitCode : int {
  kExitConverted = 0,
  kExitInternal = 1,
  kExitUsage = 2,
  kExitStrict = 3,
  kExitInput = 4,
  kExitParity = 5,
  kExitOutput = 6,
  kExitLimit = 7,
};

inline int exit_code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return kExitUsage;
    case ErrorKind::kInput:
      return kExitInput;
    case ErrorKind::kParity:
      return kExitParity;
    case ErrorKind::kOutput:
      return kExitOutput;
    case ErrorKind::kLimit:
      return kExitLimit;
  }
  return kExitInternal;
}

}  // namespace flashconvert::app
