// The version of the program, from the build.
#pragma once

namespace flashconvert {

inline constexpr const char* kVersion = FLASHCONVERT_VERSION;

}  // namespace flashconvert
