// The grammar of --input-spec: one argument of a method, described.
//
//   spec    := [name ':'] value
//   value   := tensor | number | 'true' | 'false' | 'none' | text in quotes
//            | '(' value, … ')' | '[' value, … ']' | '{' key ':' value, … '}'
//   tensor  := dtype [ '[' size, … ']' ] [ '{' lowest '..' highest '}' | '{' number '}' ]
//
//   float16[8,3,224,224]    ids:int64[2,128]{0..30521}    mask:bool[2,128]{1}    (float32[2,4], none)    0.5
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <string>

namespace flashconvert::verify {

struct InputSpec {
  std::string text;   // as the user gave it
  std::string name;   // of the argument; "" for the next one by position
  c10::IValue value;  // a tensor that has a range is drawn; one that has none is a meta tensor, to be drawn by its use
};

// Throws Error(kUsage) that shows the spec with a caret under the character, and says what was expected there. `seed`
// makes the drawn values: different arguments should have different ones.
InputSpec parse_input_spec(const std::string& text, std::uint64_t seed);

// The error of the parser, for what is found wrong only later (an argument's name, say).
[[noreturn]] void throw_spec_error(const std::string& text, std::size_t position, const std::string& message);

}  // namespace flashconvert::verify
