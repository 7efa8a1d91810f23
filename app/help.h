// The texts of --help and --version.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class FormatterBase;
}

namespace flashconvert::app {

struct Command;

std::shared_ptr<CLI::FormatterBase> help_formatter();
std::shared_ptr<CLI::FormatterBase> command_help_formatter(const Command& command);
std::string help_footer();      // the commands, the exit codes and the examples
std::string exit_codes_help();  // a line each
std::string examples_help();
std::string version_text();

}  // namespace flashconvert::app
