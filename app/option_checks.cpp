#include "option_checks.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "common/error.h"

namespace flashconvert::app {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& message, const std::string& advice = "") {
  throw Error(ErrorKind::kUsage, message, advice);
}

void check_one_file(const std::vector<std::string>& files, bool dry_run) {
  if (files.empty()) fail("INPUT is missing", "flashconvert INPUT OUTPUT; see flashconvert --help.");
  if (files.size() == 1 && !dry_run) {
    fail("OUTPUT is missing", "flashconvert " + files[0] + " OUTPUT, or --dry-run to see what would be done.");
  }
  if (files.size() > 2) {
    fail("more than two files were given", "To convert several: flashconvert --output-dir DIR INPUT...");
  }
}

void check_batch_names(const std::vector<std::string>& inputs) {
  std::map<fs::path, std::string> seen;
  for (const auto& input : inputs) {
    if (input == "-") fail("--output-dir converts files: '-' (standard input) has no name to write under");
    const fs::path name = fs::path(input).filename();
    if (name.empty() || name == "." || name == "..") fail(input + " is a folder: give the checkpoints in it");
    const auto [first, is_new] = seen.emplace(name, input);
    if (!is_new) {
      fail(first->second + " and " + input + " would both be written to " + name.string() + " in the output folder",
           "Convert them in two runs, into two folders.");
    }
  }
}

// A binary file on a terminal helps nobody, and a terminal has no checkpoint to give.
void check_streams(const Options& options) {
  if (options.inputs[0] == "-" && isatty(STDIN_FILENO) == 1) {
    fail("INPUT is '-', but standard input is a terminal",
         "Redirect a checkpoint into it: flashconvert - OUTPUT < model.pt");
  }
  if (options.output == "-" && !options.dry_run && isatty(STDOUT_FILENO) == 1) {
    fail("OUTPUT is '-', but standard output is a terminal", "Redirect it to a file or a pipe, or name a file.");
  }
}

bool names_same_file(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return a != "-" && b != "-" &&
         (fs::path(a).lexically_normal() == fs::path(b).lexically_normal() || fs::equivalent(a, b, ignored));
}

void check_report(const Options& options) {
  if (!options.report) return;
  const std::string ending = fs::path(*options.report).extension().string();
  if (ending != ".json" && ending != ".html") {
    fail("--report " + *options.report + ": the name must end in .json or .html, which chooses the form");
  }
  for (const auto& input : options.inputs) {
    if (names_same_file(*options.report, input)) fail("--report " + *options.report + " would overwrite INPUT");
  }
  if (!options.output.empty() && names_same_file(*options.report, options.output)) {
    fail("--report and OUTPUT are the same file, " + options.output);
  }
}

void check_inputs_file(const Options& options) {
  if (!options.inputs_file) return;
  if (!options.input_specs.empty()) fail("--inputs and --input-spec contradict each other: give one of them");
  std::error_code ignored;
  if (!fs::exists(*options.inputs_file, ignored)) fail("--inputs " + *options.inputs_file + ": no such file");
  if (fs::is_directory(*options.inputs_file, ignored)) fail("--inputs " + *options.inputs_file + ": is a folder");
}

void check_device(const std::string& device) {
  if (device == "auto" || device == "cpu" || device == "cuda") return;
  const std::string prefix = "cuda:";
  const bool indexed = device.compare(0, prefix.size(), prefix) == 0 && device.size() > prefix.size() &&
                       device.size() <= prefix.size() + 3 &&
                       device.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
  if (!indexed) fail("--device " + device + ": expected auto, cpu, cuda or cuda:N");
}

void check_globs(const char* option, const std::vector<std::string>& globs) {
  for (const auto& glob : globs) {
    if (glob.empty()) fail(std::string(option) + " '': a glob over module paths may not be empty");
  }
}

}  // namespace

void assign_files(Options& options, const std::vector<std::string>& files) {
  for (const auto& file : files) {
    if (file.empty()) fail("a file name may not be empty");
  }
  if (options.is_batch()) {
    if (options.output_dir->empty()) fail("--output-dir '': a folder's name may not be empty");
    if (*options.output_dir == "-") fail("--output-dir '-': a batch cannot go to standard output");
    if (files.empty()) fail("no INPUT was given", "flashconvert --output-dir DIR INPUT...");
    check_batch_names(files);
    options.inputs = files;
    return;
  }
  check_one_file(files, options.dry_run);
  options.inputs = {files[0]};
  if (files.size() == 2) options.output = files[1];
}

void check_together(const Options& options) {
  if (options.revert_failing && !options.verify)
    fail("--revert-failing needs --verify, which finds the sites that fail");
  const bool runs_model = options.verify || options.bench;
  if (options.inputs_file && !runs_model) fail("--inputs needs --verify or --bench, which run the model on them");
  if (!options.input_specs.empty() && !runs_model)
    fail("--input-spec needs --verify or --bench, which run the model on it");
  check_inputs_file(options);
  check_device(options.device);
  if (options.backend != "flash" && options.backend != "portable") {
    fail("--backend " + options.backend + ": expected flash or portable");
  }
  check_globs("--only", options.only);
  check_globs("--skip", options.skip);
  check_report(options);
  if (!options.is_batch()) check_streams(options);
}

}  // namespace flashconvert::app
