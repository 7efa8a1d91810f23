#include "manual.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "exit_code.h"
#include "help.h"
#include "option_model.h"
#include "version.h"

namespace flashconvert::app {
namespace {

// Text that roff reads as it stands: no escapes, no requests, hyphens that can be copied.
std::string roff(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '\\') {
      safe += "\\e";
    } else if (c == '-') {
      safe += "\\-";
    } else {
      if ((c == '.' || c == '\'') && (safe.empty() || safe.back() == '\n')) safe += "\\&";
      safe += c;
    }
  }
  return safe;
}

std::string option_entry(const OptionFacts& option) {
  std::string names;
  for (const auto& name : option.names) names += (names.empty() ? "" : ", ") + ("\\fB" + roff(name) + "\\fR");
  if (!option.value.empty()) names += " \\fI" + roff(option.value) + "\\fR";
  return ".TP\n" + names + "\n" + roff(option.description) + "\n";
}

// The groups in the order in which they were declared.
std::string option_sections(const std::vector<OptionFacts>& options) {
  std::vector<std::string> groups;
  for (const auto& option : options) {
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) groups.push_back(option.group);
  }
  std::string text;
  for (const auto& group : groups) {
    text += ".SS " + roff(group) + "\n";
    for (const auto& option : options) {
      if (option.group == group) text += option_entry(option);
    }
  }
  return text;
}

std::string command_sections(const std::vector<CommandFacts>& model) {
  std::string text;
  for (const auto& command : model) {
    if (command.name.empty()) continue;
    text += ".SS flashconvert " + roff(command.name + " " + command.usage) + "\n" + roff(command.summary) + ".\n";
    for (const auto& option : command.options) {
      if (option.names.back() != "--help") text += option_entry(option);
    }
  }
  return text;
}

// A section of the help as it stands, without its heading.
std::string verbatim(const std::string& section) {
  return ".nf\n" + roff(section.substr(section.find('\n') + 1)) + ".fi\n";
}

std::string manual() {
  const std::vector<CommandFacts> model = command_line_model();
  std::string text = ".TH FLASHCONVERT 1 \"\" \"flashconvert " + std::string(kVersion) + "\" \"User Commands\"\n";
  text += ".SH NAME\nflashconvert \\- fuse the attention of a TorchScript checkpoint\n";
  text +=
      ".SH SYNOPSIS\n.B flashconvert\n[options] \\fIINPUT OUTPUT\\fR\n.br\n.B flashconvert\n[options] "
      "\\fB\\-\\-output\\-dir\\fR \\fIDIR INPUT\\fR...\n";
  for (const auto& command : model) {
    if (!command.name.empty()) text += ".br\n.B flashconvert " + roff(command.name) + "\n" + roff(command.usage) + "\n";
  }
  text +=
      ".SH DESCRIPTION\nWrites a TorchScript checkpoint again, with its attention in one fused operator and its\n"
      "reparameterised weights computed once and for all. The result computes the same, under the same interface.\n"
      "\\fIINPUT\\fR and \\fIOUTPUT\\fR are paths, or \\(aq\\-\\(aq for standard input and output.\n";
  text += ".SH OPTIONS\n" + option_sections(model.front().options);
  text += ".SH COMMANDS\n" + command_sections(model);
  text += ".SH EXIT STATUS\n" + verbatim(exit_codes_help());
  text += ".SH EXAMPLES\n" + verbatim(examples_help());
  return text;
}

}  // namespace

Command manual_command() {
  return {"manual", "", "print the manual page: flashconvert manual | man -l -",
          [](CLI::App&) -> std::shared_ptr<void> { return nullptr; },
          [](const void*) -> int {
            std::cout << manual();
            return std::cout.flush() ? kExitConverted : kExitOutput;
          }};
}

}  // namespace flashconvert::app
