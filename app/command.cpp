#include "command.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <string_view>

#include "common/log.h"
#include "completion.h"
#include "exit_code.h"
#include "help.h"
#include "inspect.h"
#include "manual.h"
#include "merge_reports.h"
#include "option_errors.h"

namespace flashconvert::app {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {inspect_command(), diff_command(), merge_reports_command(),
                                           completion_command(), manual_command()};
  return all;
}

const Command* command_of(int argc, const char* const* argv) {
  if (argc < 2) return nullptr;
  for (const auto& command : commands()) {
    if (std::string_view(argv[1]) == command.name) return &command;
  }
  return nullptr;
}

int run_command(const Command& command, int argc, const char* const* argv) {
  CLI::App app;
  app.formatter(command_help_formatter(command));
  app.set_help_flag("-h,--help", "this text")->group("Options");
  const std::shared_ptr<void> values = command.declare(app);
  const std::string name = std::string("flashconvert ") + command.name;
  if (!parse_or_refuse(app, argc - 1, argv + 1, name)) return std::cout.flush() ? kExitConverted : kExitOutput;
  start_log(Verbosity::kNormal);
  return command.run(values.get());
}

}  // namespace flashconvert::app
