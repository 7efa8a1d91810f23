#include "child_process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "common/error.h"
#include "common/log.h"
#include "signals.h"

namespace flashconvert::app {
namespace {

int memory_file(const char* name) {
  const int descriptor = ::memfd_create(name, MFD_CLOEXEC);
  if (descriptor < 0) {
    throw Error(ErrorKind::kOutput, std::string("no memory for a conversion's report: ") + std::strerror(errno));
  }
  return descriptor;
}

std::string contents(int descriptor) {
  std::string text;
  char buffer[65536];
  off_t offset = 0;
  for (ssize_t count; (count = ::pread(descriptor, buffer, sizeof(buffer), offset)) > 0; offset += count) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// Processes side by side would otherwise each start a thread for every core. What the user set stays.
std::vector<std::string> environment(bool color, int share) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  if (share > 1 && std::getenv("OMP_NUM_THREADS") == nullptr) {
    const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
    variables.push_back("OMP_NUM_THREADS=" + std::to_string(std::max(1, cores / share)));
  }
  if (color && std::getenv("CLICOLOR_FORCE") == nullptr) variables.emplace_back("CLICOLOR_FORCE=1");
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> array;
  array.reserve(texts.size() + 1);
  for (auto& text : texts) array.push_back(text.data());
  array.push_back(nullptr);
  return array;
}

}  // namespace

ChildProcess::ChildProcess(const std::function<std::vector<std::string>(int descriptor)>& arguments, bool keep_log,
                           int share) {
  report_ = memory_file("report");
  if (keep_log) log_ = memory_file("log");
  std::vector<std::string> words = arguments(report_);
  words.insert(words.begin(), "flashconvert");
  std::vector<std::string> variables = environment(keep_log && log_has_color(), share);
  const std::vector<char*> word_array = pointers(words);
  const std::vector<char*> variable_array = pointers(variables);

  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw Error(ErrorKind::kOutput, std::string("no process could be started: ") + std::strerror(errno));
  if (pid_ > 0) return;

  // In the child, where only async-signal-safe calls are allowed. It must not outlive the batch.
  reset_signals();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);
  ::fcntl(report_, F_SETFD, 0);
  if (keep_log) ::dup2(log_, STDERR_FILENO);
  ::execve("/proc/self/exe", word_array.data(), variable_array.data());
  ::_exit(1);
}

ChildProcess::~ChildProcess() {
  if (report_ >= 0) ::close(report_);
  if (log_ >= 0) ::close(log_);
}

std::string ChildProcess::log() const { return contents(log_); }
std::string ChildProcess::report() const { return contents(report_); }

void ChildProcess::stop() {
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace flashconvert::app
