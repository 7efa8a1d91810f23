#include "single.h"

#include <c10/util/Exception.h>
#include <torch/csrc/jit/runtime/print_handler.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "common/error.h"
#include "common/glob.h"
#include "common/out_of_memory.h"
#include "convert/convert.h"
#include "exit_code.h"
#include "growth.h"
#include "operator_library.h"
#include "report/writers.h"
#include "report_file.h"
#include "resume.h"
#include "sandbox.h"
#include "version.h"
#include "worker.h"

namespace flashconvert::app {

std::string torch_version() { return TORCH_VERSION; }

namespace {

// Torch's warnings are about our use of it, not about the user's model: only --verbose shows them.
class TorchWarnings : public c10::WarningHandler {
public:
  void process(const c10::Warning& warning) override { log_detail("torch: " + warning.msg()); }
};

ConvertOptions conversion_options(const Options& options) {
  ConvertOptions conversion;
  conversion.verify = options.verify;
  conversion.revert_failing = options.revert_failing;
  conversion.bench = options.bench;
  conversion.dry_run = options.dry_run;
  conversion.fold = !options.no_fold;
  conversion.pack = !options.no_pack;
  conversion.linear = !options.no_linear;
  conversion.dump_graphs = options.dump_graphs.value_or("");
  conversion.only = options.only;
  conversion.skip = options.skip;
  conversion.backend = options.backend == "portable" ? survey::Backend::kPortable : survey::Backend::kFlash;
  conversion.inputs.inputs_file = options.inputs_file;
  conversion.inputs.specs = options.input_specs;
  conversion.verification.device = options.device;
  return conversion;
}

std::optional<checkpoint::Destination> open_output(const Options& options, const checkpoint::Source& input) {
  if (options.dry_run) return std::nullopt;
  if (options.output == "-") return checkpoint::Destination::standard_output();
  return checkpoint::Destination::file(options.output, input, options.force);
}

// The whole text is for --verbose: a line says what happened, the rest is where in torch it was noticed.
std::string first_line(const std::string& text, Verbosity verbosity) {
  return verbosity == Verbosity::kVerbose ? text : text.substr(0, text.find('\n'));
}

// A glob that selects nothing is a typing error more often than a wish.
void warn_of_idle_globs(report::Report& report, const char* option, const std::vector<std::string>& globs) {
  for (const auto& glob : globs) {
    const auto selects = [&](const auto& entry) { return glob_selects(glob, entry.path); };
    if (std::none_of(report.attention.begin(), report.attention.end(), selects) &&
        std::none_of(report.folded.begin(), report.folded.end(), selects) &&
        std::none_of(report.linear.begin(), report.linear.end(), selects)) {
      report.warnings.push_back(std::string(option) + " '" + glob +
                                "' matches no attention site, no reparameterised weight and no linear layer");
    }
  }
}

report::TextOptions text_options(const Options& options) {
  report::TextOptions text;
  text.verbose = options.verbosity == Verbosity::kVerbose;
  text.dry_run = options.dry_run;
  text.color = log_has_color();
  text.width = log_width();
  return text;
}

void print_report(const report::Report& report, const Options& options) {
  const report::TextOptions text = text_options(options);
  for (const auto& line : report::entry_lines(report, text)) log_info(line);
  for (const auto& warning : report.warnings) log_warning(warning);
  for (const auto& line : report::summary_lines(report, text)) log_info(line);
}

std::string parity_failure(const Options& options) {
  std::string message = "parity failed";
  if (!options.dry_run) message += ": " + options.output + " was not written";
  if (!options.revert_failing) {
    message += "\n  --revert-failing leaves what fails as it was and converts the rest.";
  }
  return message;
}

// How a conversion that came to its end is judged.
void judge(report::Report& report, bool parity_failed, const Options& options) {
  const report::Counts counts = report::count(report);
  if (parity_failed) {
    report.exit_code = kExitParity;
    report.error = parity_failure(options);
  } else if (options.strict && counts.fused < counts.sites) {
    report.exit_code = kExitStrict;
    report.error = "--strict: " + std::to_string(counts.sites - counts.fused) + " of " + std::to_string(counts.sites) +
                   " attention sites left unfused";
  }
}

bool needs_our_operators(const report::Report& report) {
  const auto is_ours = [](const std::string& name) { return name.rfind("flashconvert::", 0) == 0; };
  return std::any_of(report.operators_needed.begin(), report.operators_needed.end(), is_ours);
}

// The verdict as soon as it is known: what comes after it may take long.
void tell_failed_parity(report::Report report, const Options& options) {
  clear_progress();
  for (const auto& line : report::verdict_lines(report, text_options(options))) log_info(line);
  if (options.report) {
    report.exit_code = kExitParity;
    report.error = parity_failure(options) + "\n  The search for the cause was interrupted.";
    ReportFile(*options.report).write_one(report);  // the process that waits for this one keeps its own file
  }
  log_info(std::string("looking for the cause; Ctrl-C ends it") + (options.report ? " and keeps the report" : ""));
}

// Why OUTPUT takes more space than INPUT did.
void explain_growth(report::Report& report) {
  const bool is_larger = report.output && report.output->bytes > report.input.bytes;
  if (!is_larger || report.input.path == "-" || report.output->path == "-") return;
  report.growth = growth_of_archive(report.input.path, report.output->path);
}

void run(const Options& options, report::Report& report, const NoteStage& note_stage) {
  for (const auto& library : options.load_libraries) checkpoint::load_operator_library(library);
  show_progress("load", 0);  // standard input may take its time
  const checkpoint::Source source = open_input(options.inputs[0]);
  const std::optional<checkpoint::Destination> destination = open_output(options, source);
  ConvertOptions conversion = conversion_options(options);
  conversion.on_failed_parity = [&](const report::Report& failed) { tell_failed_parity(failed, options); };
  const auto progress = [&](const std::string& stage, double share) {
    note_stage(stage);
    show_progress(stage, share);
  };
  ConvertResult result = convert(source, destination ? &*destination : nullptr, conversion, progress);
  clear_progress();
  report = std::move(result.report);
  if (report.library.empty() && needs_our_operators(report)) report.library = operator_library();
  warn_of_idle_globs(report, "--only", options.only);
  warn_of_idle_globs(report, "--skip", options.skip);
  explain_growth(report);
  judge(report, result.parity_failed, options);
  print_report(report, options);
  if (report.error) log_error(*report.error);
}

// The report of a conversion that an error ended.
void fail(report::Report& report, int exit_code, const std::string& message) {
  clear_progress();
  log_error(message);
  report.exit_code = exit_code;
  report.error = message;
}

void fail_unexpectedly(report::Report& report, const Options& options, const std::string& message) {
  const char* advice = options.verbosity == Verbosity::kVerbose ? "" : "\n  --verbose shows the whole text.";
  fail(report, kExitInternal,
       "internal error while converting " + options.inputs[0] + ": " + first_line(message, options.verbosity) + advice);
}

void fail_out_of_memory(report::Report& report, const Options& options) {
  fail(report, kExitLimit,
       "out of memory while converting " + options.inputs[0] +
           "\n  A conversion needs about 1.5 times the file's size, and more with --verify. Nothing was written.");
}

void run_and_catch(const Options& options, report::Report& report, const NoteStage& note_stage) {
  try {
    run(options, report, note_stage);
  } catch (const Error& error) {
    fail(report, exit_code_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    fail_out_of_memory(report, options);
  } catch (const c10::Error& error) {
    if (is_out_of_memory(error.what_without_backtrace())) return fail_out_of_memory(report, options);
    fail_unexpectedly(report, options,
                      options.verbosity == Verbosity::kVerbose ? error.what() : error.what_without_backtrace());
  } catch (const std::exception& error) {
    if (is_out_of_memory(error.what())) return fail_out_of_memory(report, options);
    fail_unexpectedly(report, options, error.what());
  }
}

// A batch reads each report from the descriptor that it gave us.
void hand_over(const report::Report& report, int descriptor) {
  if (!write_all(descriptor, report::to_json(report))) {
    throw Error(ErrorKind::kOutput, std::string("the report cannot be handed to the batch: ") + std::strerror(errno));
  }
}

WorkerLimits limits_of(const Options& options) {
  const auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return {options.max_memory != 0 ? options.max_memory : pages * page, options.max_time};
}

// The worker writes OUTPUT's temporary file, a report that says that parity failed, graphs where they are asked for,
// and nothing else.
void confine(const Options& options) {
  if (options.no_sandbox) return;
  std::vector<std::filesystem::path> writable;
  if (options.report && options.verify) writable.push_back(ReportFile::folder_of(*options.report));
  if (options.dump_graphs) {
    std::error_code failure;  // said by whoever writes there
    std::filesystem::create_directories(*options.dump_graphs, failure);
    writable.emplace_back(*options.dump_graphs);
  }
  if (!options.dry_run) writable.push_back(checkpoint::Destination::folder_to_write(options.output));
  const std::string problem = enter_sandbox(writable);
  if (!problem.empty()) log_detail("the code of INPUT runs without a sandbox: " + problem);
}

// A worker that ended in the middle could not tidy up.
void tidy_up_after(const report::Report& report, const Options& options) {
  if (isatty(STDERR_FILENO) == 1) write_all(STDERR_FILENO, "\r\x1b[K");  // the progress line
  if (!options.dry_run && options.output != "-") checkpoint::Destination::remove_leftovers(options.output);
  if (report.exit_code <= kExitLimit) log_error(*report.error);
}

}  // namespace

checkpoint::Source open_input(const std::string& path) {
  return path == "-" ? checkpoint::Source::standard_input() : checkpoint::Source::file(path);
}

void tame_torch() {
  static TorchWarnings warnings;
  c10::WarningUtils::set_warning_handler(&warnings);
  torch::jit::setPrintHandler([](const std::string& text) { log_detail("the model prints: " + text); });
}

int convert_one(const Options& options) {
  tame_torch();
  std::unique_ptr<ReportFile> file;
  if (options.report) file = std::make_unique<ReportFile>(*options.report);

  report::Report started;
  started.flashconvert_version = kVersion;
  started.torch_version = torch_version();
  started.input.path = options.inputs[0];
  const WorkerResult result = run_in_worker(started, limits_of(options), [&](const NoteStage& note_stage) {
    report::Report report = started;
    confine(options);
    run_and_catch(options, report, note_stage);
    report.options = deciding_options(options);
    return report;
  });
  const report::Report& report = result.report;
  if (result.was_cut_short) tidy_up_after(report, options);
  if (result.signal != 0) return 128 + result.signal;

  if (file) file->write_one(report);
  if (options.report_descriptor >= 0) hand_over(report, options.report_descriptor);
  return report.exit_code;
}

}  // namespace flashconvert::app
