#include "worker.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>

#include "child_process.h"
#include "common/error.h"
#include "common/log.h"
#include "exit_code.h"
#include "report/format.h"
#include "report/writers.h"
#include "report_file.h"
#include "signals.h"

namespace flashconvert::app {
namespace {

using Clock = std::chrono::steady_clock;

// A name that the worker writes and we read, also after its death.
class SharedStage {
public:
  SharedStage() {
    void* page = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) throw std::bad_alloc();
    text_ = static_cast<char*>(page);
  }
  ~SharedStage() { ::munmap(text_, kSize); }
  SharedStage(const SharedStage&) = delete;
  SharedStage& operator=(const SharedStage&) = delete;

  void set(const std::string& stage) {
    const std::size_t size = std::min(stage.size(), kSize - 1);
    std::memcpy(text_, stage.data(), size);
    text_[size] = '\0';
  }
  std::string get() const { return {text_, ::strnlen(text_, kSize - 1)}; }

private:
  static constexpr std::size_t kSize = 64;
  char* text_ = nullptr;
};

[[noreturn]] void work(pid_t parent, int descriptor, SharedStage& stage,
                       const std::function<report::Report(const NoteStage&)>& convert) {
  checkpoint::forget_temporary_files();
  reset_signals();
  clean_up_on_signals();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(kExitInternal);
  int code = kExitInternal;
  try {
    const report::Report report = convert([&](const std::string& name) { stage.set(name); });
    code = write_all(descriptor, report::to_json(report)) ? report.exit_code : kExitInternal;
  } catch (const std::exception& error) {
    log_error(std::string("internal error: ") + error.what());
  }
  std::fflush(nullptr);
  std::_Exit(code);  // without the destructors of LibTorch's static objects, as main does
}

// The memory that is the process's alone; 0 when that cannot be told.
std::uint64_t own_memory(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/statm");
  std::uint64_t total = 0, resident = 0, shared = 0;
  if (!(status >> total >> resident >> shared) || shared > resident) return 0;
  return (resident - shared) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

class Watch {
public:
  Watch(pid_t worker, const WorkerLimits& limits) : worker_(worker), limits_(limits), started_(Clock::now()) {}

  // Until the worker has ended, by itself or by us. Its status, as waitpid gives it.
  int wait() {
    int status = 0;
    while (::waitpid(worker_, &status, WNOHANG) != worker_) {
      const int signal = wait_for_signal(kLook);
      if (signal != 0 && signal != SIGCHLD && signal_ == 0) {
        signal_ = signal;
        ::kill(worker_, SIGTERM);  // it removes its temporary files
      }
      if (signal == 0 && reason_.empty()) stop_beyond_limits();
    }
    return status;
  }

  int signal() const { return signal_; }
  const std::string& reason() const { return reason_; }

private:
  static constexpr std::chrono::milliseconds kLook{50};

  void stop_beyond_limits() {
    const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
    if (limits_.seconds > 0 && seconds > limits_.seconds) {
      reason_ = "took longer than --max-time allows (" + report::human_seconds(limits_.seconds) + ")";
    } else if (limits_.memory > 0 && own_memory(worker_) > limits_.memory) {
      reason_ = "needs more memory than --max-memory allows (" + report::human_bytes(limits_.memory) + ")";
    }
    if (!reason_.empty()) ::kill(worker_, SIGKILL);
  }

  pid_t worker_;
  WorkerLimits limits_;
  Clock::time_point started_;
  int signal_ = 0;
  std::string reason_;
};

std::optional<report::Report> parsed_report(const std::string& text) {
  try {
    return report::from_json(text);
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

// The report of a worker that left none.
report::Report report_of_the_dead(report::Report report, int status, const std::string& reason,
                                  const std::string& stage) {
  const std::string subject = report.input.path + ": the conversion ";
  const std::string at = stage.empty() ? "" : " (stage: " + stage + ")";
  if (!reason.empty()) {
    report.exit_code = kExitLimit;
    report.error =
        subject + reason + at + "\n  Raise the limit. A file that is small and needs much may not be what it seems.";
  } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
    report.exit_code = kExitLimit;
    report.error = subject + "was killed" + at + "\n  The system may have run out of memory.";
  } else if (WIFSIGNALED(status)) {
    const bool of_the_file = stage.empty() || stage == "load";
    report.exit_code = of_the_file ? kExitInput : kExitInternal;
    report.error = subject + "crashed: " + ::strsignal(WTERMSIG(status)) + at +
                   "\n  LibTorch does not bear this file. Nothing was written.";
  } else {
    report.exit_code = WEXITSTATUS(status) > 128 ? WEXITSTATUS(status) : static_cast<int>(kExitInternal);
    report.error = subject + "ended with exit code " + std::to_string(WEXITSTATUS(status)) + " and left no report" + at;
  }
  return report;
}

}  // namespace

WorkerResult run_in_worker(const report::Report& started, const WorkerLimits& limits,
                           const std::function<report::Report(const NoteStage&)>& convert) {
  MemoryFile report_file("report");
  SharedStage stage;
  queue_signals();
  const pid_t parent = ::getpid();
  const pid_t worker = ::fork();
  if (worker < 0) {
    throw Error(ErrorKind::kLimit, std::string("no process could be started: ") + std::strerror(errno));
  }
  if (worker == 0) work(parent, report_file.descriptor(), stage, convert);

  Watch watch(worker, limits);
  const int status = watch.wait();
  WorkerResult result;
  result.signal = watch.signal();
  const bool ended_by_itself = watch.reason().empty() && WIFEXITED(status);
  if (auto report = ended_by_itself ? parsed_report(report_file.contents()) : std::nullopt) {
    result.report = std::move(*report);
  } else {
    result.was_cut_short = true;
    result.report = report_of_the_dead(started, status, watch.reason(), stage.get());
  }
  return result;
}

}  // namespace flashconvert::app
