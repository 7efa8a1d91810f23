#include "completion.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>

#include "common/error.h"
#include "exit_code.h"
#include "option_model.h"

namespace flashconvert::app {
namespace {

using Model = std::vector<CommandFacts>;

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::vector<std::string> command_names(const Model& model) {
  std::vector<std::string> names;
  for (const auto& command : model) {
    if (!command.name.empty()) names.push_back(command.name);
  }
  return names;
}

std::vector<std::string> option_names(const CommandFacts& command) {
  std::vector<std::string> names;
  for (const auto& option : command.options) names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

// Every character of `special` in `text`, after `escape`.
std::string escaped(const std::string& text, const std::string& special, const char* escape = "\\") {
  std::string safe;
  for (const char c : text) {
    if (special.find(c) != std::string::npos) safe += escape;
    safe += c;
  }
  return safe;
}

// Inside single quotes of a shell.
std::string quotable(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return safe;
}

// What bash offers after an option that takes a value; "command option)" patterns of one case.
std::string bash_value_case(const CommandFacts& command, const OptionFacts& option) {
  std::vector<std::string> patterns;
  for (const auto& name : option.names) patterns.push_back("'" + command.name + " " + name + "'");
  std::string action = "COMPREPLY=()";
  if (option.kind == ValueKind::kFile) action = "mapfile -t COMPREPLY < <(compgen -f -- \"$word\")";
  if (option.kind == ValueKind::kFolder) action = "mapfile -t COMPREPLY < <(compgen -d -- \"$word\")";
  if (option.kind == ValueKind::kWords) {
    action = "mapfile -t COMPREPLY < <(compgen -W '" + joined(option.words, " ") + "' -- \"$word\")";
  }
  return "    " + joined(patterns, "|") + ") " + action + "; return ;;\n";
}

std::string bash(const Model& model) {
  const std::string names = joined(command_names(model), " ");
  std::string text =
      "# bash completion for flashconvert, from `flashconvert completion bash`\n"
      "_flashconvert() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= options=\n"
      "  if ((COMP_CWORD > 1)); then\n"
      "    case ${COMP_WORDS[1]} in " +
      joined(command_names(model), "|") + ") command=${COMP_WORDS[1]} ;; esac\n  fi\n  case \"$command $before\" in\n";
  for (const auto& command : model) {
    for (const auto& option : command.options) {
      if (option.kind != ValueKind::kNone) text += bash_value_case(command, option);
    }
  }
  text += "  esac\n  case $command in\n";
  for (const auto& command : model) {
    text += "    '" + command.name + "') options='" + joined(option_names(command), " ") + "' ;;\n";
  }
  return text +
         "  esac\n"
         "  if [[ $word == -* ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
         "    return\n"
         "  fi\n"
         "  mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
         "  if ((COMP_CWORD == 1)); then\n"
         "    local name\n"
         "    for name in " +
         names +
         "; do [[ $name == \"$word\"* ]] && COMPREPLY+=(\"$name\"); done\n"
         "  fi\n"
         "}\n"
         "complete -o filenames -F _flashconvert flashconvert\n";
}

std::string zsh_option(const OptionFacts& option) {
  const std::string description = escaped(option.description, "[]\\");
  std::string value;
  if (option.kind == ValueKind::kText) value = ":" + escaped(option.value, ":\\") + ": ";
  if (option.kind == ValueKind::kFile) value = ":" + option.value + ":_files";
  if (option.kind == ValueKind::kFolder) value = ":" + option.value + ":_files -/";
  if (option.kind == ValueKind::kWords) value = ":value:(" + joined(option.words, " ") + ")";
  std::string text;
  for (const auto& name : option.names) {
    text += "    '*" + name + "[" + quotable(description) + "]" + quotable(value) + "'\n";
  }
  return text;
}

std::string zsh_options(const CommandFacts& command) {
  std::string text;
  for (const auto& option : command.options) text += zsh_option(option);
  return text;
}

std::string zsh(const Model& model) {
  std::string text = "#compdef flashconvert\n# zsh completion, from `flashconvert completion zsh`\n_flashconvert() {\n";
  text += "  local -a options commands\n  commands=(\n";
  for (const auto& command : model) {
    if (command.name.empty()) continue;
    text += "    '" + command.name + ":" + quotable(escaped(command.summary, ":\\")) + "'\n";
  }
  text += "  )\n  case ${words[2]} in\n";
  for (const auto& command : model) {
    if (command.name.empty()) continue;
    text += "  " + command.name + ")\n    options=(\n" + zsh_options(command) +
            "    '*:file:_files'\n    )\n    ((CURRENT > 2)) && shift words && ((CURRENT--)) && "
            "_arguments -s $options && return\n    ;;\n";
  }
  return text + "  esac\n  ((CURRENT == 2)) && _describe command commands\n  options=(\n" + zsh_options(model.front()) +
         "    '*:file:_files'\n  )\n  _arguments -s $options\n}\n_flashconvert \"$@\"\n";
}

std::string fish_option(const std::string& condition, const OptionFacts& option) {
  std::string line = "complete -c flashconvert -n '" + condition + "'";
  for (const auto& name : option.names) {
    const bool is_long = name.compare(0, 2, "--") == 0;
    line += is_long ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (option.kind == ValueKind::kWords) line += " -x -a '" + joined(option.words, " ") + "'";
  if (option.kind == ValueKind::kText) line += " -x";
  if (option.kind == ValueKind::kFile) line += " -r -F";
  if (option.kind == ValueKind::kFolder) line += " -x -a '(__fish_complete_directories)'";
  return line + " -d '" + escaped(option.description, "'\\") + "'\n";
}

std::string fish(const Model& model) {
  const std::string names = joined(command_names(model), " ");
  std::string text = "# fish completion for flashconvert, from `flashconvert completion fish`\n";
  for (const auto& command : model) {
    const bool is_conversion = command.name.empty();
    const std::string condition =
        (is_conversion ? "not __fish_seen_subcommand_from " + names : "__fish_seen_subcommand_from " + command.name);
    if (!is_conversion) {
      text += "complete -c flashconvert -n __fish_use_subcommand -a " + command.name + " -d '" +
              escaped(command.summary, "'\\") + "'\n";
    }
    for (const auto& option : command.options) text += fish_option(condition, option);
  }
  return text;
}

int print_completion(const void* values) {
  const std::string& shell = *static_cast<const std::string*>(values);
  std::function<std::string(const Model&)> write;
  if (shell == "bash") write = bash;
  if (shell == "zsh") write = zsh;
  if (shell == "fish") write = fish;
  if (!write) throw Error(ErrorKind::kUsage, "completion " + shell + ": expected bash, zsh or fish");
  std::cout << write(command_line_model());
  return std::cout.flush() ? kExitConverted : kExitOutput;
}

std::shared_ptr<void> declare_completion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("SHELL", *shell)->required();
  return shell;
}

}  // namespace

Command completion_command() {
  return {"completion", "bash|zsh|fish", "print the script that completes options in a shell", declare_completion,
          print_completion};
}

}  // namespace flashconvert::app
