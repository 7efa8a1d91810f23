#include "signals.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <exception>
#include <string_view>

#include "checkpoint/temporary_file.h"

namespace flashconvert::app {
namespace {

volatile std::sig_atomic_t on_terminal = 0;

// The signals that end a program and let it clean up. Those that were ignored when it started stay so: SIGINT as a
// shell starts what a script leaves in the background, SIGHUP under nohup.
constexpr std::array<int, 5> kEnding{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU};
std::array<bool, kEnding.size()> stays_ignored{};

void say(std::string_view text) {
  const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(ignored);
}

// Only async-signal-safe calls from here on.
void remove_temporary_files() {
  checkpoint::remove_temporary_files();
  if (on_terminal != 0) say("\r\x1b[K");  // the progress line
}

extern "C" void end_on_signal(int signal) {
  remove_temporary_files();
  ::_exit(128 + signal);
}

[[noreturn]] void end_on_terminate() {
  remove_temporary_files();
  say("error: internal error: an exception left the program unhandled\n");
  ::_exit(1);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  for (const int other : kEnding) sigaddset(&action.sa_mask, other);
  ::sigaction(signal, &action, nullptr);
}

sigset_t queued() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  for (std::size_t i = 0; i < kEnding.size(); ++i) {
    if (!stays_ignored[i]) sigaddset(&signals, kEnding[i]);
  }
  return signals;
}

bool is_ignored(int signal) {
  struct sigaction now = {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

}  // namespace

void clean_up_on_signals() {
  on_terminal = isatty(STDERR_FILENO);
  std::set_terminate(end_on_terminate);
  for (std::size_t i = 0; i < kEnding.size(); ++i) {
    stays_ignored[i] = kEnding[i] != SIGTERM && is_ignored(kEnding[i]);
    if (!stays_ignored[i]) handle(kEnding[i], end_on_signal);
  }
  handle(SIGPIPE, SIG_IGN);
}

void queue_signals() {
  handle(SIGCHLD, SIG_DFL);  // whoever started us may have had it ignored, and then nothing could be waited for
  const sigset_t signals = queued();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

int wait_for_signal() {
  const sigset_t signals = queued();
  int signal;
  do signal = ::sigwaitinfo(&signals, nullptr);
  while (signal < 0);
  return signal;
}

int wait_for_signal(std::chrono::milliseconds longest) {
  const sigset_t signals = queued();
  timespec time{};
  time.tv_sec = static_cast<time_t>(longest.count() / 1000);
  time.tv_nsec = static_cast<long>(longest.count() % 1000) * 1'000'000;
  return std::max(0, ::sigtimedwait(&signals, nullptr, &time));
}

void reset_signals() {
  for (std::size_t i = 0; i < kEnding.size(); ++i) {
    if (!stays_ignored[i]) handle(kEnding[i], SIG_DFL);
  }
  const sigset_t signals = queued();
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
}

}  // namespace flashconvert::app
