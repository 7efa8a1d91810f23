// A look at the text of a checkpoint's code before LibTorch's parser and compiler see it: both are recursive, so that
// what nests too deeply ends the program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flashconvert::checkpoint {

struct CodeProblem {
  std::uint64_t byte = 0;
  std::string problem;  // "blocks lie within each other more than 60 deep"
};

// The first thing that is beyond what the compiler bears; nothing for code that it can be given, right or wrong.
std::optional<CodeProblem> find_code_problem(std::string_view code);

}  // namespace flashconvert::checkpoint
