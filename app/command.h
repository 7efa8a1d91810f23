// The commands beside the conversion itself: flashconvert NAME …, each with options of its own. A file whose name is
// that of a command is meant when it is written as a path: ./inspect.
#pragma once

#include <memory>
#include <vector>

namespace CLI {
class App;
}

namespace flashconvert::app {

struct Command {
  const char* name;
  const char* usage;    // what follows the name: "[options] FILE"
  const char* summary;  // one line, without a full stop
  // Declares the options. Returns what they are parsed into.
  std::shared_ptr<void> (*declare)(CLI::App& app);
  // Runs it with what `declare` returned, parsed. Returns the exit code; throws Error.
  int (*run)(const void* values);
};

const std::vector<Command>& commands();

// The command that the command line begins with, or null for a conversion.
const Command* command_of(int argc, const char* const* argv);

// Parses and runs it. Returns the exit code; throws Error (kUsage for a wrong command line).
int run_command(const Command& command, int argc, const char* const* argv);

}  // namespace flashconvert::app
