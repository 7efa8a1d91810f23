// The part of an error's text that says what happened.
#pragma once

#include <string>

namespace flashconvert {

// TorchScript's interpreter puts a traceback before the operator's own message, which is the last line.
inline std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace flashconvert
