// Paths of modules and their attributes, as --only takes them and reports show them.
#pragma once

#include <string>

namespace flashconvert {

// "encoder.layers.0" and "attn" give "encoder.layers.0.attn"; either may be empty.
inline std::string join_path(const std::string& path, const std::string& name) {
  if (path.empty()) return name;
  if (name.empty()) return path;
  return path + "." + name;
}

}  // namespace flashconvert
