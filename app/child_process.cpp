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

MemoryFile::MemoryFile(const char* name) : descriptor_(::memfd_create(name, MFD_CLOEXEC)) {
  if (descriptor_ < 0) {
    throw Error(ErrorKind::kOutput, std::string("no memory for a conversion's report: ") + std::strerror(errno));
  }
}

MemoryFile::~MemoryFile() { ::close(descriptor_); }

std::string MemoryFile::contents() const {
  std::string text;
  char buffer[65536];
  off_t offset = 0;
  for (ssize_t count; (count = ::pread(descriptor_, buffer, sizeof(buffer), offset)) > 0; offset += count) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

ChildProcess::ChildProcess(const std::function<std::vector<std::string>(int descriptor)>& arguments, bool keep_log,
                           int share)
    : report_("report") {
  if (keep_log) log_.emplace("log");
  std::vector<std::string> words = arguments(report_.descriptor());
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
  ::fcntl(report_.descriptor(), F_SETFD, 0);
  if (log_) ::dup2(log_->descriptor(), STDERR_FILENO);
  ::execve("/proc/self/exe", word_array.data(), variable_array.data());
  ::_exit(1);
}

std::string ChildProcess::log() const { return log_->contents(); }
std::string ChildProcess::report() const { return report_.contents(); }

void ChildProcess::stop() {
  ::kill(pid_, SIGTERM);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace flashconvert::app
