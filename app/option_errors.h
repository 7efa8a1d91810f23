// What CLI11 finds wrong with a command line, in this program's words.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace flashconvert::app {

// Parses the command line; false when --help was asked for and printed. Throws Error(kUsage), one clear line. `program`
// is how it was called: "flashconvert", "flashconvert inspect".
bool parse_or_refuse(CLI::App& app, int argc, const char* const* argv, const std::string& program);

}  // namespace flashconvert::app
