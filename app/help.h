// The texts of --help and --version.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class FormatterBase;
}

namespace flashconvert::app {

std::shared_ptr<CLI::FormatterBase> help_formatter();
std::string help_footer();  // the exit codes and the examples
std::string version_text();

}  // namespace flashconvert::app
