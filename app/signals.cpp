#include "signals.h"

#include <unistd.h>

#include <csignal>
#include <exception>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "report_file.h"

namespace flashconvert::app {
namespace {

volatile std::sig_atomic_t noted = 0;
volatile std::sig_atomic_t on_terminal = 0;

void say(std::string_view text) {
  const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
  static_cast<void>(ignored);
}

// Only async-signal-safe calls from here on.
void remove_temporary_files() {
  checkpoint::remove_temporary_files();
  ReportFile::remove_temporary();
  if (on_terminal != 0) say("\r\x1b[K");  // the progress line
}

extern "C" void end_on_signal(int signal) {
  remove_temporary_files();
  ::_exit(128 + signal);
}

extern "C" void note_signal(int signal) { noted = signal; }

[[noreturn]] void end_on_terminate() {
  remove_temporary_files();
  say("error: internal error: an exception left the program unhandled\n");
  ::_exit(1);
}

// Without SA_RESTART: a batch that waits for its processes must notice.
void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGINT);
  sigaddset(&action.sa_mask, SIGTERM);
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void clean_up_on_signals() {
  on_terminal = isatty(STDERR_FILENO);
  std::set_terminate(end_on_terminate);
  handle(SIGINT, end_on_signal);
  handle(SIGTERM, end_on_signal);
  handle(SIGPIPE, SIG_IGN);
}

void note_signals() {
  handle(SIGINT, note_signal);
  handle(SIGTERM, note_signal);
}

int noted_signal() { return noted; }

}  // namespace flashconvert::app
