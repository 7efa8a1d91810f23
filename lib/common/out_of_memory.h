// Whether an error of torch's is that there is no memory: it throws std::bad_alloc for its own needs, and a c10::Error
// with this text for a tensor's.
#pragma once

#include <string_view>

namespace flashconvert {

inline bool is_out_of_memory(std::string_view message) {
  for (const std::string_view text : {"can't allocate memory", "not enough memory", "CUDA out of memory"}) {
    if (message.find(text) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace flashconvert
