// The table of dtype names.
#include "verify/dtypes.h"

#include <algorithm>
#include <array>

namespace flashconvert::verify {

namespace {

struct Name {
  c10::ScalarType type;
  const char* name;
  const char* alias;  // another spelling that torch knows, or ""
};

constexpr std::array kNames = {
    Name{c10::kFloat, "float32", "float"},
    Name{c10::kHalf, "float16", "half"},
    Name{c10::kBFloat16, "bfloat16", ""},
    Name{c10::kDouble, "float64", "double"},
    Name{c10::kLong, "int64", "long"},
    Name{c10::kInt, "int32", "int"},
    Name{c10::kShort, "int16", "short"},
    Name{c10::kChar, "int8", ""},
    Name{c10::kByte, "uint8", ""},
    Name{c10::kBool, "bool", ""},
    Name{c10::kComplexFloat, "complex64", "cfloat"},
    Name{c10::kComplexDouble, "complex128", "cdouble"},
};

}  // namespace

std::string dtype_name(c10::ScalarType type) {
  for (const Name& entry : kNames) {
    if (entry.type == type) return entry.name;
  }
  return c10::toString(type);  // the rare ones (quantized, 8-bit floats) under their C++ name
}

std::optional<c10::ScalarType> parse_dtype(const std::string& name) {
  for (const Name& entry : kNames) {
    if (name == entry.name || (!name.empty() && name == entry.alias)) return entry.type;
  }
  return std::nullopt;
}

std::vector<std::string> dtype_names() {
  std::vector<std::string> names;
  std::transform(kNames.begin(), kNames.end(), std::back_inserter(names), [](const Name& entry) { return entry.name; });
  return names;
}

}  // namespace flashconvert::verify
