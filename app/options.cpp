// Declares the options with CLI11. What they mean together is checked in option_checks.cpp.
#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "common/error.h"
#include "help.h"
#include "option_checks.h"
#include "option_errors.h"
#include "system_facts.h"

namespace flashconvert::app {
namespace {

[[noreturn]] void refuse(const std::string& message, const std::string& advice = "See flashconvert --help.") {
  throw Error(ErrorKind::kUsage, message, advice);
}

// What the user typed, before it is a checked value.
struct Raw {
  std::vector<std::string> files;
  std::string output_dir, inputs_file, report, jobs, dump_graphs, shard, max_memory, max_time;
  bool quiet = false, verbose = false, version = false;
};

void declare_files(CLI::App& app, Raw& raw, Options& options) {
  app.add_option("FILE", raw.files)->group("");
  app.add_option("--output-dir", raw.output_dir, "convert every INPUT into this folder, under its own name")
      ->type_name("DIR")
      ->group("Files");
  app.add_flag("--force", options.force, "overwrite OUTPUT (otherwise an existing file is an error)")->group("Files");
  app.add_option("--load-library", options.load_libraries,
                 "load a custom-operator library that INPUT needs; repeatable")
      ->type_name("LIB")
      ->allow_extra_args(false)
      ->group("Files");
  app.add_option(
         "--jobs", raw.jobs,
         "files of a batch to convert at the same time (1); each needs about 1.5 times\nits file's size of memory")
      ->type_name("N")
      ->group("Files");
  app.add_flag("--resume", options.resume,
               "go on with a batch: skip inputs that were converted before with the same options;\n"
               "each OUTPUT gets its report beside it, OUTPUT.report.json")
      ->group("Files");
  app.add_option("--shard", raw.shard, "convert the I-th of N parts of a batch, dealt out by the files' names")
      ->type_name("I/N")
      ->group("Files");
}

void declare_conversion(CLI::App& app, Options& options) {
  app.option_defaults()->group("Conversion");
  app.add_option("--backend", options.backend,
                 "flash: fused sites call flashconvert::attention, which needs its library to load;\n"
                 "portable: they call torch's own operators alone (flash)")
      ->type_name("flash|portable");
  app.add_option("--only", options.only, "convert only modules whose path matches, and what is below them; repeatable")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  app.add_option("--skip", options.skip, "leave modules alone whose path matches, and what is below them; repeatable")
      ->type_name("GLOB")
      ->allow_extra_args(false);
  app.add_flag("--no-fold", options.no_fold, "leave reparameterised weights alone");
  app.add_flag("--no-pack", options.no_pack, "leave separate query, key and value projections alone");
  app.add_flag("--no-linear", options.no_linear,
               "leave linear layers alone (float32 ones call flashconvert::linear otherwise)");
  app.add_flag("--dry-run", options.dry_run,
               "print the plan (every site and weight with its reason), the operators that the result\n"
               "needs, and operator counts before and after; write nothing; OUTPUT may be left out");
  app.add_flag("--strict", options.strict, "exit 3 when any attention site was left unfused");
}

void declare_verification(CLI::App& app, Raw& raw, Options& options) {
  app.option_defaults()->group("Verification");
  app.add_flag("--verify", options.verify, "prove parity with the original; nothing is written if it fails");
  app.add_flag("--revert-failing", options.revert_failing,
               "with --verify: leave the sites that fail as they were, and convert the rest");
  app.add_option("--inputs", raw.inputs_file, "tensors saved by torch.save: one tuple, or a list of tuples")
      ->type_name("FILE");
  app.add_option("--input-spec", options.input_specs,
                 "what to draw, once per argument: \"float16[8,3,224,224]\", \"ids:int64[2,128]{0..30521}\"")
      ->type_name("SPEC")
      ->allow_extra_args(false);
  app.add_option("--device", options.device, "where verification and timing run (auto: the GPU if there is one)")
      ->type_name("auto|cpu|cuda[:N]");
  app.add_flag("--bench", options.bench, "time original and converted on the verification inputs");
}

void declare_limits(CLI::App& app, Raw& raw, Options& options) {
  app.option_defaults()->group("Limits");
  app.add_option("--max-memory", raw.max_memory,
                 "end a file's conversion (exit 7) that needs more of its own, in bytes or with K, M, G, T\n"
                 "(the memory of the machine)")
      ->type_name("SIZE");
  app.add_option("--max-time", raw.max_time, "end a file's conversion (exit 7) that takes longer (no limit)")
      ->type_name("SECONDS");
  app.add_flag("--no-sandbox", options.no_sandbox,
               "let the code of INPUT and of --load-library write anywhere, not in OUTPUT's folder alone");
}

void declare_messages(CLI::App& app, Raw& raw, Options& options) {
  app.option_defaults()->group("Messages");
  app.add_option("--report", raw.report, "write a report; .json or .html by its ending")->type_name("FILE");
  app.add_option("--dump-graphs", raw.dump_graphs,
                 "write the model's graphs after each stage, one file a stage and method (a batch: in DIR/NAME)")
      ->type_name("DIR");
  app.add_flag("--quiet", raw.quiet, "errors only");
  app.add_flag("--verbose", raw.verbose, "every weight, every compared output, full texts of internal errors");
  app.add_flag("--version", raw.version,
               "versions of flashconvert and torch, and the kernels in the build; with --verbose\nwhat a report of a "
               "fault needs: system, processor, GPU, driver");
  app.set_help_flag("-h,--help", "this text");
  app.add_option("--report-descriptor", options.report_descriptor)->group("");
}

void declare(CLI::App& app, Raw& raw, Options& options) {
  declare_files(app, raw, options);
  declare_conversion(app, options);
  declare_verification(app, raw, options);
  declare_limits(app, raw, options);
  declare_messages(app, raw, options);
}

// "4G", "500M", "1000000": bytes.
std::uint64_t parse_memory(const std::string& text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string unit = text.substr(digits);
  const std::size_t shift = unit.empty()  ? 0
                            : unit == "K" ? 10
                            : unit == "M" ? 20
                            : unit == "G" ? 30
                            : unit == "T" ? 40
                                          : 64;
  const bool fits = digits >= 1 && digits <= 18 && shift < 64;
  const std::uint64_t number = fits ? std::stoull(text.substr(0, digits)) : 0;
  if (number == 0 || number > (UINT64_MAX >> 1 >> shift)) {
    refuse("--max-memory " + text + ": expected bytes, or a number with K, M, G or T (8G)");
  }
  return number << shift;
}

// Of as many digits as a batch gives its conversions.
double parse_seconds(const std::string& text) {
  const bool digits = !text.empty() && text.size() <= std::to_string(1e9).size() &&
                      text.find_first_not_of("0123456789.") == std::string::npos &&
                      std::count(text.begin(), text.end(), '.') <= 1 && text != ".";
  const double seconds = digits ? std::stod(text) : 0;
  if (seconds <= 0) refuse("--max-time " + text + ": expected a number of seconds");
  return seconds;
}

// A number of at most so many digits; 0 for any other text.
int whole_number(const std::string& text, std::size_t most_digits) {
  const bool is_number =
      !text.empty() && text.size() <= most_digits && text.find_first_not_of("0123456789") == std::string::npos;
  return is_number ? std::stoi(text) : 0;
}

int parse_jobs(const std::string& text) {
  const int jobs = whole_number(text, 4);
  if (jobs < 1) refuse("--jobs " + text + ": expected a number from 1 to 9999");
  return jobs;
}

// "3/8"
Shard parse_shard(const std::string& text) {
  const std::size_t slash = text.find('/');
  Shard shard;
  shard.number = whole_number(text.substr(0, slash), 6);
  shard.count = slash == std::string::npos ? 0 : whole_number(text.substr(slash + 1), 6);
  if (shard.number < 1 || shard.number > shard.count) {
    refuse("--shard " + text + ": expected I/N, the I-th of N parts, as in 1/8 to 8/8");
  }
  return shard;
}

void complete(Options& options, const Raw& raw, const CLI::App& app) {
  const auto given = [&app](const char* option) { return app.count(option) > 0; };
  if (raw.quiet && raw.verbose) refuse("--quiet and --verbose contradict each other");
  options.verbosity = raw.quiet ? Verbosity::kQuiet : raw.verbose ? Verbosity::kVerbose : Verbosity::kNormal;
  if (given("--inputs")) options.inputs_file = raw.inputs_file;
  if (given("--report")) options.report = raw.report;
  if (given("--dump-graphs")) options.dump_graphs = raw.dump_graphs;
  if (given("--output-dir")) options.output_dir = raw.output_dir;
  if (given("--jobs")) options.jobs = parse_jobs(raw.jobs);
  if (given("--shard")) options.shard = parse_shard(raw.shard);
  if (given("--max-memory")) options.max_memory = parse_memory(raw.max_memory);
  if (given("--max-time")) options.max_time = parse_seconds(raw.max_time);
  assign_files(options, raw.files);
  if (given("--shard") && !options.is_batch()) refuse("--shard needs --output-dir: it is a part of a batch");
  if (options.resume && !options.is_batch()) refuse("--resume needs --output-dir: it goes on with a batch");
  if (options.resume && options.dry_run)
    refuse("--resume and --dry-run contradict each other: a dry run converts nothing");
  if (given("--jobs") && !options.is_batch()) refuse("--jobs needs --output-dir: one file is one job");
  if (given("--device") && !options.verify && !options.bench) {
    refuse("--device needs --verify or --bench: the conversion itself runs on the CPU");
  }
  check_together(options);
}

}  // namespace

void with_conversion_options(const std::function<void(const CLI::App&)>& visit) {
  CLI::App app;
  Raw raw;
  Options options;
  declare(app, raw, options);
  visit(app);
}

std::optional<Options> parse_command_line(int argc, const char* const* argv) {
  CLI::App app;
  app.formatter(help_formatter());
  app.footer(help_footer());
  Raw raw;
  Options options;
  declare(app, raw, options);
  if (!parse_or_refuse(app, argc, argv, "flashconvert")) return std::nullopt;
  if (raw.version) {
    std::cout << version_text() << (raw.verbose ? system_facts() : "");
    return std::nullopt;
  }
  complete(options, raw, app);
  return options;
}

std::vector<std::string> arguments_for_one(const Options& batch, const std::string& input, const std::string& output,
                                           int report_descriptor) {
  std::vector<std::string> arguments;
  const auto add_flag = [&](bool set, const char* name) {
    if (set) arguments.emplace_back(name);
  };
  // Always "--name=value": a value may begin with a dash.
  const auto add = [&](const char* name, const std::string& value) {
    arguments.push_back(std::string(name) + "=" + value);
  };
  const auto add_each = [&](const char* name, const std::vector<std::string>& values) {
    for (const auto& value : values) add(name, value);
  };
  add_flag(batch.verify, "--verify");
  add_flag(batch.revert_failing, "--revert-failing");
  add_flag(batch.bench, "--bench");
  if (batch.inputs_file) add("--inputs", *batch.inputs_file);
  add_each("--input-spec", batch.input_specs);
  if (batch.verify || batch.bench) add("--device", batch.device);
  add("--backend", batch.backend);
  add_each("--only", batch.only);
  add_each("--skip", batch.skip);
  add_flag(batch.no_fold, "--no-fold");
  add_flag(batch.no_pack, "--no-pack");
  add_flag(batch.no_linear, "--no-linear");
  add_each("--load-library", batch.load_libraries);
  if (batch.dump_graphs)
    add("--dump-graphs", *batch.dump_graphs + "/" + std::filesystem::path(input).filename().string());
  add_flag(batch.dry_run, "--dry-run");
  add_flag(batch.no_sandbox, "--no-sandbox");
  if (batch.max_memory != 0) add("--max-memory", std::to_string(batch.max_memory));
  if (batch.max_time > 0) add("--max-time", std::to_string(batch.max_time));
  add_flag(batch.force, "--force");
  add_flag(batch.strict, "--strict");
  add_flag(batch.verbosity == Verbosity::kQuiet, "--quiet");
  add_flag(batch.verbosity == Verbosity::kVerbose, "--verbose");
  add("--report-descriptor", std::to_string(report_descriptor));
  arguments.emplace_back("--");
  arguments.push_back(input);
  arguments.push_back(output);
  return arguments;
}

}  // namespace flashconvert::app
