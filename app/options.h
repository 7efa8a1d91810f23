// The command line as a value: what was asked for, checked, before any work.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/log.h"

namespace CLI {
class App;
}

namespace flashconvert::app {

// One of `count` parts of a batch, 1 to count.
struct Shard {
  int number = 1;
  int count = 1;
};

struct Options {
  std::vector<std::string> inputs;  // exactly one, unless there is an output_dir
  std::string output;               // empty in a batch, and in a dry run without one
  std::optional<std::string> output_dir;

  bool verify = false;
  bool revert_failing = false;
  bool bench = false;
  std::optional<std::string> inputs_file;
  std::vector<std::string> input_specs;
  std::string device = "auto";

  std::string backend = "flash";
  std::vector<std::string> only;
  std::vector<std::string> skip;
  bool no_fold = false;
  bool no_pack = false;
  bool no_linear = false;
  std::vector<std::string> load_libraries;

  bool dry_run = false;
  bool force = false;
  bool strict = false;
  bool resume = false;
  std::optional<Shard> shard;
  std::optional<std::string> report;
  std::optional<std::string> dump_graphs;  // a folder
  int jobs = 1;
  Verbosity verbosity = Verbosity::kNormal;

  std::uint64_t max_memory = 0;  // bytes; 0: that of the machine
  double max_time = 0;           // seconds; 0: none
  bool no_sandbox = false;

  int report_descriptor = -1;  // --report-descriptor: how one process of a batch hands its report to the batch

  bool is_batch() const { return output_dir.has_value(); }
};

// Nothing when --help or --version has answered already. Throws Error(kUsage) for a wrong or contradictory command
// line.
std::optional<Options> parse_command_line(int argc, const char* const* argv);

// Shows the options of a conversion as they are declared, for what is generated from them (option_model.h).
void with_conversion_options(const std::function<void(const CLI::App&)>& visit);

// Two lines, for a command line without arguments.
std::string short_usage();

// The command line, without the program's name, that converts one file of a batch.
std::vector<std::string> arguments_for_one(const Options& batch, const std::string& input, const std::string& output,
                                           int report_descriptor);

}  // namespace flashconvert::app
