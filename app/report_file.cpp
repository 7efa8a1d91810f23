#include "report_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "common/error.h"
#include "report/writers.h"

namespace flashconvert::app {
namespace {

// The one temporary file, where a signal handler finds it: a path in static storage, valid while the flag is set.
char signal_path[4096];
std::atomic<bool> signal_path_valid{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler reads it");

void show_to_handlers(const std::string& path) {
  if (path.size() >= sizeof(signal_path)) return;  // longer than PATH_MAX: open() refuses it anyway
  std::memcpy(signal_path, path.c_str(), path.size() + 1);
  signal_path_valid = true;
}

// While it lives, the signals that remove temporary files wait.
class InterruptsWait {
public:
  InterruptsWait() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM}) ::sigaddset(&signals, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~InterruptsWait() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  InterruptsWait(const InterruptsWait&) = delete;
  InterruptsWait& operator=(const InterruptsWait&) = delete;

private:
  sigset_t before_{};
};

// A new file beside `path`, whose name is in `temporary`; no signal falls between its creation and its being known.
int create_temporary(const std::string& path, std::string& temporary) {
  const InterruptsWait guard;
  temporary = path + ".partial-XXXXXX";
  const int descriptor = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (descriptor >= 0) show_to_handlers(temporary);
  return descriptor;
}

}  // namespace

bool write_all(int descriptor, const std::string& content) {
  std::string_view rest = content;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

ReportFile::ReportFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) fail("cannot be written", EISDIR);
  if (std::filesystem::exists(path_, ignored) && ::access(path_.c_str(), W_OK) != 0) fail("cannot be written", errno);
  descriptor_ = create_temporary(path_, temporary_);
  if (descriptor_ < 0) fail("cannot be written", errno);
  // mkostemp's file is the owner's alone; a report is an ordinary file.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(descriptor_, 0666 & ~mask);
}

ReportFile::~ReportFile() {
  if (descriptor_ < 0) return;
  signal_path_valid = false;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

bool ReportFile::wants_json() const { return std::filesystem::path(path_).extension() == ".json"; }

void ReportFile::write_one(const report::Report& report) {
  write(wants_json() ? report::to_json(report) : report::to_html({report}));
}

void ReportFile::write_batch(const std::vector<report::Report>& reports) {
  write(wants_json() ? report::to_json(reports) : report::to_html(reports));
}

void ReportFile::write(const std::string& content) {
  if (!write_all(descriptor_, content) || ::fsync(descriptor_) != 0) fail("cannot be written", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be put in its place", errno);
  signal_path_valid = false;
  ::close(descriptor_);
  descriptor_ = -1;
}

void ReportFile::fail(const std::string& what, int code) const {
  throw Error(ErrorKind::kOutput, "the report " + path_ + " " + what + ": " + std::strerror(code));
}

void ReportFile::remove_temporary() noexcept {
  if (signal_path_valid) ::unlink(signal_path);
}

}  // namespace flashconvert::app
