#include "option_errors.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <optional>
#include <vector>

#include "common/error.h"
#include "common/suggest.h"

namespace flashconvert::app {
namespace {

[[noreturn]] void fail_usage(const std::string& message, const std::string& advice) {
  throw Error(ErrorKind::kUsage, message, advice);
}

// An option that nobody declared: name it, and what may have been meant.
[[noreturn]] void fail_unknown(const CLI::App& app, const std::string& see_help) {
  const std::vector<std::string> unknown = app.remaining();
  const std::string word = unknown.front().substr(0, unknown.front().find('='));
  if (word.empty() || word.front() != '-') fail_usage("one file too many: " + word, see_help);
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  std::optional<std::string> meant = nearest(word, names);
  if (!meant && word.size() > 2) {
    const auto starts_with_word = [&](const std::string& name) { return name.compare(0, word.size(), word) == 0; };
    const auto found = std::find_if(names.begin(), names.end(), starts_with_word);
    if (found != names.end()) meant = *found;
  }
  fail_usage("unknown option " + word, meant ? "Did you mean " + *meant + "?" : see_help);
}

}  // namespace

bool parse_or_refuse(CLI::App& app, int argc, const char* const* argv, const std::string& program) {
  const std::string see_help = "See " + program + " --help.";
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help(program);
    return false;
  } catch (const CLI::ExtrasError&) {
    fail_unknown(app, see_help);
  } catch (const CLI::RequiredError& problem) {
    const std::string text = problem.what();
    fail_usage(text.substr(0, text.find(' ')) + " is missing", see_help);
  } catch (const CLI::ArgumentMismatch& problem) {
    const std::string text = problem.what();
    const std::string name = text.substr(0, text.find(':'));
    fail_usage(name + (app.count(name) > 1 ? " is given more than once" : " needs a value"), see_help);
  } catch (const CLI::ParseError& problem) {
    fail_usage(problem.what(), see_help);
  }
  return true;
}

}  // namespace flashconvert::app
