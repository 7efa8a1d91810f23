#include "option_model.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <sstream>

#include "command.h"
#include "options.h"

namespace flashconvert::app {
namespace {

// "auto|cpu|cuda[:N]" -> auto, cpu, cuda
std::vector<std::string> alternatives(const std::string& value) {
  std::vector<std::string> words;
  std::istringstream parts(value);
  for (std::string word; std::getline(parts, word, '|');) words.push_back(word.substr(0, word.find('[')));
  return words;
}

OptionFacts facts_of(const CLI::Option& option) {
  OptionFacts facts;
  for (const auto& name : option.get_snames()) facts.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) facts.names.push_back("--" + name);
  facts.group = option.get_group();
  facts.description = option.get_description();
  std::replace(facts.description.begin(), facts.description.end(), '\n', ' ');
  if (option.get_type_size() == 0) return facts;
  facts.value = option.get_type_name();
  facts.kind = ValueKind::kText;
  if (facts.value == "FILE" || facts.value == "LIB") facts.kind = ValueKind::kFile;
  if (facts.value == "DIR") facts.kind = ValueKind::kFolder;
  if (facts.value.find('|') == std::string::npos) return facts;
  facts.kind = ValueKind::kWords;
  facts.words = alternatives(facts.value);
  return facts;
}

std::vector<OptionFacts> options_of(const CLI::App& app) {
  std::vector<OptionFacts> all;
  for (const CLI::Option* option : app.get_options()) {
    const bool is_hidden = option->get_group().empty();
    if (!is_hidden && option->nonpositional()) all.push_back(facts_of(*option));
  }
  return all;
}

}  // namespace

std::vector<CommandFacts> command_line_model() {
  std::vector<CommandFacts> model;
  CommandFacts conversion;
  conversion.summary = "convert a TorchScript checkpoint";
  with_conversion_options([&](const CLI::App& app) { conversion.options = options_of(app); });
  model.push_back(std::move(conversion));
  for (const auto& command : commands()) {
    CLI::App app;
    app.set_help_flag("-h,--help", "this text")->group("Options");
    const auto values = command.declare(app);
    model.push_back({command.name, command.usage, command.summary, options_of(app)});
  }
  return model;
}

}  // namespace flashconvert::app
