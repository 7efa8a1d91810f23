#include "inspect.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "checkpoint/checkpoint.h"
#include "common/log.h"
#include "common/printable.h"
#include "exit_code.h"
#include "inspect/inspect.h"
#include "inspect/writers.h"
#include "sandbox.h"
#include "single.h"

namespace flashconvert::app {
namespace {

struct Values {
  std::vector<std::string> files;
  std::vector<std::string> libraries;
  std::size_t depth = 2;
  bool json = false;
};

std::shared_ptr<Values> declare_common(CLI::App& app, const char* files, int count) {
  auto values = std::make_shared<Values>();
  app.add_option(files, values->files)->required()->expected(count);
  app.add_option("--load-library", values->libraries,
                 "load a custom-operator library that the checkpoint needs; repeatable")
      ->type_name("LIB")
      ->allow_extra_args(false);
  app.add_flag("--json", values->json, "print JSON");
  return values;
}

template <typename Look>
inspect::Inspection look_at(const std::string& path, const Look& look) {
  show_progress("inspect", 0);
  inspect::Inspection inspection = look(open_input(path));
  clear_progress();
  return inspection;
}

void prepare(const Values& values) {
  tame_torch();
  const std::string problem = enter_sandbox({});  // nothing is written
  if (!problem.empty()) log_detail("the code of FILE runs without a sandbox: " + problem);
  for (const auto& library : values.libraries) checkpoint::load_operator_library(library);
}

template <typename Facts>
int print(const Facts& facts, const Values& values) {
  inspect::LineOptions options;
  options.width = output_width();
  options.depth = values.depth;
  options.color = options.width > 0 && log_has_color();
  if (values.json) {
    std::cout << inspect::json_of(facts);
  } else {
    for (const auto& line : inspect::lines_of(facts, options)) std::cout << printable(line, options.color) << '\n';
  }
  return std::cout.flush() ? kExitConverted : kExitOutput;
}

int run_inspect(const void* data) {
  const auto& values = *static_cast<const Values*>(data);
  prepare(values);
  return print(look_at(values.files[0], inspect::inspect), values);
}

int run_diff(const void* data) {
  const auto& values = *static_cast<const Values*>(data);
  prepare(values);
  const inspect::Inspection before = look_at(values.files[0], inspect::contents);
  return print(inspect::differences(before, look_at(values.files[1], inspect::contents)), values);
}

}  // namespace

Command inspect_command() {
  return {"inspect", "[options] FILE",
          "show methods, inputs, modules, operators, attention and devices of a checkpoint",
          [](CLI::App& app) -> std::shared_ptr<void> {
            auto values = declare_common(app, "FILE", 1);
            app.add_option("--depth", values->depth, "levels of the module tree to show (2)")->type_name("N");
            return values;
          },
          run_inspect};
}

Command diff_command() {
  return {"diff", "[options] A B", "show what differs between two checkpoints, module by module, code side by side",
          [](CLI::App& app) -> std::shared_ptr<void> { return declare_common(app, "FILES", 2); }, run_diff};
}

}  // namespace flashconvert::app
