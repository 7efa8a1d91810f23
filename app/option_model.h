// The options as CLI11 has them declared, for what is generated from them: the manual and the shells' completions.
#pragma once

#include <string>
#include <vector>

namespace flashconvert::app {

// What a shell can offer for the value of an option.
enum class ValueKind { kNone, kWords, kFile, kFolder, kText };

struct OptionFacts {
  std::vector<std::string> names;  // "-h", "--help"
  std::string group;
  std::string value;  // as the help shows it: "flash|portable", "FILE"; empty for a flag
  std::string description;
  ValueKind kind = ValueKind::kNone;
  std::vector<std::string> words;  // with kWords
};

struct CommandFacts {
  std::string name;  // empty: the conversion
  std::string usage;
  std::string summary;
  std::vector<OptionFacts> options;
};

// The conversion first, then every command.
std::vector<CommandFacts> command_line_model();

}  // namespace flashconvert::app
