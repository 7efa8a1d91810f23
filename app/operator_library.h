// Where the operator library is that this program has loaded: the file that a converted checkpoint needs.
#pragma once

#include <string>

namespace flashconvert::app {

// The absolute path of a library of that file name which this process has loaded, or "".
std::string loaded_library(const std::string& name);

// The absolute path of libflashconvert_ops.so, or "" when the loader does not know it.
std::string operator_library();

}  // namespace flashconvert::app
