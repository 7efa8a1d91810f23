// Names of dtypes as Python writes them, without "torch.": the spelling of input specs, reports and messages.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <vector>

namespace flashconvert::verify {

// "float32", "int64", "bool", …
std::string dtype_name(c10::ScalarType type);

// The dtype of a name, aliases included ("half", "long", …); nothing when there is none.
std::optional<c10::ScalarType> parse_dtype(const std::string& name);

// The names that parse_dtype knows, aliases left out, in the order in which messages list them.
std::vector<std::string> dtype_names();

}  // namespace flashconvert::verify
