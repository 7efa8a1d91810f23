// What makes one archive larger than another.
#pragma once

#include <filesystem>
#include <string>

namespace flashconvert::app {

// "1.2 MB more than INPUT: tensors 1.1 MB more, code 102 kB more"; "" where it is not larger, or one of them is no
// archive.
std::string growth_of_archive(const std::filesystem::path& input, const std::filesystem::path& output);

}  // namespace flashconvert::app
