#include "batch.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>

#include "child_process.h"
#include "common/error.h"
#include "exit_code.h"
#include "report/writers.h"
#include "report_file.h"
#include "resume.h"
#include "signals.h"
#include "version.h"

namespace flashconvert::app {
namespace {

namespace fs = std::filesystem;

struct Item {
  std::string input;
  std::string output;
  std::unique_ptr<ChildProcess> process;
  std::chrono::steady_clock::time_point started;
  double seconds = 0;
  bool is_finished = false;   // by an earlier run
  bool keeps_report = false;  // beside the output, for a later run
  bool may_replace = false;   // what an earlier run wrote
  report::Report report;
};

void prepare_folder(const std::string& folder) {
  std::error_code problem;
  fs::create_directories(folder, problem);
  if (!fs::is_directory(folder)) {
    const std::string reason = problem ? problem.message() : "a file of that name exists";
    throw Error(ErrorKind::kOutput, "the output folder " + folder + " cannot be made: " + reason);
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw Error(ErrorKind::kOutput, "the output folder " + folder + " cannot be written: " + std::strerror(errno));
  }
}

// The report of a process that left none: it crashed, or was killed.
report::Report report_of_the_dead(const std::string& input, int status) {
  report::Report report;
  report.flashconvert_version = kVersion;
  report.torch_version = torch_version();
  report.input.path = input;
  report.exit_code = kExitInternal;
  const std::string subject = input + ": the conversion ";
  if (!WIFSIGNALED(status)) {
    const std::string code = std::to_string(WEXITSTATUS(status));
    report.error = subject + "ended with exit code " + code + " and left no report";
    return report;
  }
  const int signal = WTERMSIG(status);
  report.error = subject + "was ended by signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
  if (signal == SIGKILL) *report.error += "\n  The system may have run out of memory: try fewer --jobs.";
  return report;
}

class Batch {
public:
  explicit Batch(const Options& options) : options_(options) {
    for (const auto& input : options.inputs) {
      if (options.shard && !is_in_shard(input, *options.shard)) continue;
      Item item;
      item.input = input;
      item.output = (fs::path(*options.output_dir) / fs::path(input).filename()).string();
      items_.push_back(std::move(item));
    }
  }

  // Returns the signal that stopped it, or 0.
  int run() {
    if (options_.resume) look_what_is_finished();
    start_waiting();
    while (running_ > 0) {
      show_share();
      const int signal = wait_for_signal();
      if (signal != SIGCHLD) {
        stop_all();
        return signal;
      }
      finish_ended();
      start_waiting();
    }
    clear_progress();
    return 0;
  }

  std::vector<report::Report> reports() const {
    std::vector<report::Report> all;
    for (const auto& item : items_) all.push_back(item.report);
    return all;
  }

  int worst() const {
    int code = kExitConverted;
    for (const auto& item : items_) code = std::max(code, item.report.exit_code);
    return code;
  }

  void print_table() const;

private:
  bool in_parallel() const { return options_.jobs > 1; }

  void start_waiting() {
    while (next_ < items_.size() && running_ < options_.jobs) {
      Item& item = items_[next_++];
      if (!item.is_finished) start(item);
    }
  }

  void look_what_is_finished() {
    std::size_t finished = 0;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      show_progress("looking what is done", static_cast<double>(i) / static_cast<double>(items_.size()));
      Item& item = items_[i];
      if (auto report = finished_before(item.input, item.output, deciding_)) {
        item.report = std::move(*report);
        item.is_finished = true;
        ++finished;
        continue;
      }
      std::error_code ignored;
      item.may_replace = is_of_a_batch(item.output);
      item.keeps_report = item.may_replace || options_.force || !fs::exists(item.output, ignored);
    }
    clear_progress();
    done_ = finished;
    log_info("--resume: " + std::to_string(finished) + " of " + std::to_string(items_.size()) +
             " files were converted before, with the same options");
  }

  void keep_report(const Item& item) const {
    if (!item.keeps_report) return;
    ReportFile(report_beside(item.output)).write_one(item.report);
  }

  // One at a time, a conversion writes to our standard error as it goes; side by side, each one's lines are kept
  // until it is done and then printed whole.
  void start(Item& item) {
    if (!in_parallel()) announce(item);
    item.report = interrupted_report(item.input, deciding_);
    keep_report(item);
    Options options = options_;
    options.force = options.force || item.may_replace;
    item.started = std::chrono::steady_clock::now();
    const auto arguments = [&](int descriptor) {
      return arguments_for_one(options, item.input, item.output, descriptor);
    };
    item.process = std::make_unique<ChildProcess>(arguments, in_parallel(), options_.jobs);
    ++running_;
  }

  void announce(const Item& item) const {
    const auto number = static_cast<std::size_t>(&item - items_.data()) + 1;
    log_info("[" + std::to_string(number) + "/" + std::to_string(items_.size()) + "] " + item.input);
  }

  // One SIGCHLD may stand for several processes.
  void finish_ended() {
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      for (auto& item : items_) {
        if (item.process && item.process->id() == pid) finish(item, status);
      }
    }
  }

  void finish(Item& item, int status) {
    item.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - item.started).count();
    if (in_parallel()) {
      clear_progress();
      announce(item);
      write_all(STDERR_FILENO, item.process->log());
    }
    try {
      item.report = report::from_json(item.process->report());
    } catch (const std::runtime_error&) {
      item.report = report_of_the_dead(item.input, status);
      log_error(*item.report.error);
    }
    keep_report(item);
    item.process.reset();
    --running_;
    ++done_;
  }

  void show_share() const {
    if (in_parallel()) {
      show_progress(std::to_string(done_) + " of " + std::to_string(items_.size()) + " files",
                    static_cast<double>(done_) / static_cast<double>(items_.size()));
    }
  }

  void stop_all() {
    clear_progress();
    for (auto& item : items_) {
      if (item.process) item.process->stop();
    }
  }

  const Options& options_;
  const std::vector<std::string> deciding_ = deciding_options(options_);
  std::vector<Item> items_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  int running_ = 0;
};

void Batch::print_table() const {
  std::vector<double> seconds;
  for (const auto& item : items_) seconds.push_back(item.seconds);
  report::TextOptions text;
  text.dry_run = options_.dry_run;
  text.color = log_has_color();
  text.width = log_width();
  for (const auto& line : report::batch_lines(reports(), seconds, text)) log_info(line);
}

}  // namespace

int convert_batch(const Options& options) {
  if (!options.dry_run) prepare_folder(*options.output_dir);
  std::unique_ptr<ReportFile> file;
  if (options.report) file = std::make_unique<ReportFile>(*options.report);
  std::unique_ptr<FolderLock> lock;
  if (options.resume) lock = std::make_unique<FolderLock>(*options.output_dir, options.shard);
  queue_signals();
  Batch batch(options);
  if (const int signal = batch.run()) return 128 + signal;
  batch.print_table();
  if (file) file->write_batch(batch.reports());
  return batch.worst();
}

}  // namespace flashconvert::app
